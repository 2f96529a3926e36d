import type { HostStatus } from "@fleetcast/client";
import { useHosts } from "@fleetcast/client/react";
import { useMemo } from "react";
import { Button } from "../ui/Button.tsx";
import { Empty } from "../ui/Empty.tsx";
import { FleetToolbar } from "./FleetToolbar.tsx";
import { FleetTotals } from "./FleetTotals.tsx";
import css from "./FleetView.module.css";
import { HostGrid } from "./HostGrid.tsx";
import { labelsOf } from "./order.ts";
import type { FleetQuery } from "./query.ts";
import { Skeleton } from "./Skeleton.tsx";
import type { FleetStore } from "./store.ts";
import { useFleetQuery, useFleetStore, useOrder } from "./useFleet.ts";
import { useHold } from "./useHold.ts";

/** Every host as it is now. */
export function FleetView() {
  const hosts = useHosts().data?.hosts;
  const store = useFleetStore(hosts);
  const [query, change] = useFleetQuery();
  const labels = useMemo(() => labelsOf(hosts ?? []), [hosts]);
  return (
    <div className={css.page}>
      <header className={css.header}>
        <h1 tabIndex={-1}>Fleet</h1>
        <FleetTotals hosts={hosts} store={store} />
        <FleetToolbar query={query} change={change} labels={labels} />
      </header>
      {hosts === undefined && <Skeleton view={query.view} />}
      {hosts?.length === 0 && <NoHosts />}
      {hosts !== undefined && hosts.length > 0 && <Hosts hosts={hosts} store={store} query={query} change={change} />}
    </div>
  );
}

interface HostsProps {
  readonly hosts: readonly HostStatus[];
  readonly store: FleetStore;
  readonly query: FleetQuery;
  readonly change: (change: Partial<FleetQuery>) => void;
}

function Hosts({ hosts, store, query, change }: HostsProps) {
  const hold = useHold();
  const groups = useOrder(hosts, store, query, hold.isHeld);
  const roster = useMemo(() => new Map(hosts.map((status) => [status.host, status])), [hosts]);
  if (groups.every((group) => group.hosts.length === 0)) return <NothingFits query={query} change={change} />;
  return (
    <div className={css.hosts} {...hold.props}>
      <HostGrid groups={groups} roster={roster} store={store} view={query.view} groupBy={query.groupBy} />
    </div>
  );
}

function NothingFits({ query, change }: Pick<HostsProps, "query" | "change">) {
  if (query.search === "") {
    return (
      <Empty title="No host is in trouble">
        <p>This list fills by itself when one is.</p>
        <Button onClick={() => change({ show: "all" })}>Show all hosts</Button>
      </Empty>
    );
  }
  const among = query.show === "trouble" ? "No host in trouble" : "No host";
  return (
    <Empty title={`${among} is called “${query.search}”, or labelled so`}>
      <Button onClick={() => change({ search: "", show: "all" })}>Show all hosts</Button>
    </Empty>
  );
}

function NoHosts() {
  return (
    <Empty title="No hosts yet">
      <p>A host is here as soon as a collector runs on it. Start both on each machine, with this edge’s Redis:</p>
      <pre className={css.command}>
        fleetcast collector metrics --redis redis://…{"\n"}
        fleetcast collector containers --redis redis://…
      </pre>
      <p>Or look at a fleet that does not exist:</p>
      <pre className={css.command}>fleetcast simulate --redis redis://…</pre>
    </Empty>
  );
}
