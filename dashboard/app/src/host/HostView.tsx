import { useHosts } from "@fleetcast/client/react";
import { Link, useParams } from "wouter";
import { ContainerTable } from "../containers/ContainerTable.tsx";
import { EventList } from "../timeline/EventList.tsx";
import { Empty } from "../ui/Empty.tsx";
import { ContainerPanel } from "./ContainerPanel.tsx";
import { HostCharts } from "./HostCharts.tsx";
import { HostHeader } from "./HostHeader.tsx";
import css from "./HostView.module.css";
import { NowPanel } from "./NowPanel.tsx";
import { ProcessCard } from "./ProcessCard.tsx";
import { useQueryParam } from "./useQueryParam.ts";

const EVENTS = 20;

/** One host: how it is, how it was, what runs on it, and what happened. Itself it renders only when the roster changes. */
export function HostView() {
  const { host = "" } = useParams<{ readonly host: string }>();
  const roster = useHosts();
  const [container, setContainer] = useQueryParam("container");
  const hosts = roster.data?.hosts;
  const status = hosts?.find((one) => one.host === host);
  if (hosts && status === undefined) return <UnknownHost host={host} />;
  return (
    <div className={css["page"]} data-panel={container !== null}>
      <HostHeader host={host} status={status} hosts={hosts?.map((one) => one.host) ?? []} />
      <div className={css["columns"]}>
        <HostCharts key={host} host={host} />
        <div className={css["now"]}>
          <NowPanel host={host} />
          <ProcessCard host={host} />
        </div>
      </div>
      <section className={css["below"]} aria-label="Containers">
        <h2>Containers</h2>
        <ContainerTable host={host} />
      </section>
      <section className={css["below"]} aria-label="Last events">
        <h2>Last events</h2>
        <EventList host={host} limit={EVENTS} />
      </section>
      {container !== null && <ContainerPanel host={host} named={container} onClose={() => setContainer(null)} />}
    </div>
  );
}

function UnknownHost({ host }: { readonly host: string }) {
  return (
    <>
      <h1 tabIndex={-1} className={css["unknown"]}>
        {host}
      </h1>
      <Empty title="No host of this name has been seen.">
        It may not have started yet, it may be hidden from you, or it was gone for so long that it was forgotten:{" "}
        <Link href="/">back to the fleet</Link>. It shows here as soon as it is seen.
      </Empty>
    </>
  );
}
