import type { HostStatus } from "@fleetcast/client";
import { useNow } from "../lib/clock.ts";
import { useConnected } from "../lib/status.ts";
import css from "./FleetTotals.module.css";
import type { FleetStore } from "./store.ts";
import { type Totals, totalsOf } from "./totals.ts";

interface FleetTotalsProps {
  /** Undefined while the roster is not known. */
  readonly hosts: readonly HostStatus[] | undefined;
  readonly store: FleetStore;
}

const COUNT_EVERY_MS = 2_000;

/** The fleet in one line, counted every two seconds. */
export function FleetTotals({ hosts, store }: FleetTotalsProps) {
  useNow(COUNT_EVERY_MS);
  const connected = useConnected();
  const totals = hosts === undefined ? null : totalsOf(hosts, store);
  return (
    <dl className={css.totals} data-stale={totals !== null && !connected}>
      {PARTS.map(({ name, of, among, tone }) => {
        const count = totals === null ? null : of(totals);
        return (
          <div key={name} data-tone={totals !== null && count !== 0 ? tone?.(totals) : undefined}>
            <dt>{name}</dt>
            <dd style={{ minWidth: `${wordFor(totals?.[among] ?? null).length}ch` }}>{wordFor(count)}</dd>
          </div>
        );
      })}
    </dl>
  );
}

interface Part {
  readonly name: string;
  readonly of: (totals: Totals) => number;
  /** What it is a part of: there is room for so large a number, so that nothing moves while it changes. */
  readonly among: "hosts" | "containers";
  /** Unless it is 0. */
  readonly tone?: (totals: Totals) => "warn" | "bad";
}

const PARTS: readonly Part[] = [
  { name: "live", of: ({ hosts, inTrouble, off }) => hosts - inTrouble - off, among: "hosts" },
  {
    name: "in trouble",
    of: ({ inTrouble }) => inTrouble,
    among: "hosts",
    tone: ({ bad }) => (bad > 0 ? "bad" : "warn"),
  },
  { name: "off", of: ({ off }) => off, among: "hosts" },
  { name: "containers run", of: ({ running }) => running, among: "containers" },
  { name: "unhealthy", of: ({ unhealthy }) => unhealthy, among: "hosts", tone: () => "warn" },
];

function wordFor(count: number | null): string {
  return count === null ? "–" : count.toLocaleString("en");
}
