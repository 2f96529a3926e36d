import type { Process } from "@fleetcast/client";
import { useContainers, useProcesses } from "@fleetcast/client/react";
import { useMemo, useRef, useState } from "react";
import { Link, useSearch } from "wouter";
import { bytes, percent } from "../lib/format.ts";
import { Segmented } from "../ui/Segmented.tsx";
import { Card } from "./Card.tsx";
import { containerHref } from "./links.ts";
import css from "./ProcessCard.module.css";
import { useHostMetrics } from "./useHostMetrics.ts";
import { useOnScreen } from "./useOnScreen.ts";

type Order = "cpu" | "memory";

const ORDERS = [
  { value: "cpu", label: "CPU" },
  { value: "memory", label: "memory" },
] as const;
const ROWS = 10;

/** The processes that use the most. They are sampled only while somebody looks: here, while this is on the screen. */
export function ProcessCard({ host }: { readonly host: string }) {
  const { stale } = useHostMetrics(host);
  const box = useRef<HTMLDivElement | null>(null);
  const onScreen = useOnScreen(box, 0);
  const [order, setOrder] = useState<Order>("cpu");
  return (
    <Card
      title="Top processes"
      stale={stale}
      aside={<Segmented<Order> label="Order" value={order} options={ORDERS} onChange={setOrder} />}
    >
      <div ref={box} className={css["box"]}>
        {onScreen && <ProcessTable host={host} order={order} />}
      </div>
    </Card>
  );
}

function ProcessTable({ host, order }: { readonly host: string; readonly order: Order }) {
  const { data, error } = useProcesses(host);
  const names = useContainerNames(host);
  if (data === undefined) return <p className="muted">{error ? error.message : "They are being asked for…"}</p>;
  const processes = order === "cpu" ? data.data.byCpu : data.data.byMemory;
  return (
    <table className={css["table"]}>
      <thead>
        <tr>
          <th>process</th>
          <th>container</th>
          <th className={css["number"]}>CPU</th>
          <th className={css["number"]}>memory</th>
        </tr>
      </thead>
      <tbody>
        {processes.slice(0, ROWS).map((process) => (
          <Row key={process.pid} process={process} host={host} names={names} />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  readonly process: Process;
  readonly host: string;
  readonly names: ReadonlyMap<string, string>;
}

function Row({ process, host, names }: RowProps) {
  const search = useSearch();
  const { containerId } = process;
  return (
    <tr>
      <td title={`pid ${process.pid}`}>{process.name}</td>
      <td>
        {containerId !== null && (
          <Link href={containerHref(host, containerId, search)}>
            {names.get(containerId) ?? containerId.slice(0, 12)}
          </Link>
        )}
      </td>
      <td className={css["number"]}>{percent(process.cpuPercent, 1)}</td>
      <td className={css["number"]}>{bytes(process.memoryBytes)}</td>
    </tr>
  );
}

function useContainerNames(host: string): ReadonlyMap<string, string> {
  const containers = useContainers(host).data?.data;
  return useMemo(() => new Map(containers?.map(({ id, name }) => [id, name])), [containers]);
}
