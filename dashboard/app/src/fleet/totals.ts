/** What a fleet comes to. Pure. */

import type { HostStatus } from "@fleetcast/client";
import { conditionOf, isInTrouble } from "./condition.ts";
import type { Known } from "./order.ts";

export interface Totals {
  readonly hosts: number;
  readonly inTrouble: number;
  /** Of those, they that are worse than a warning. */
  readonly bad: number;
  /** Gone, and may be. */
  readonly off: number;
  /** Of the hosts whose containers are known as they are now. */
  readonly containers: number;
  readonly running: number;
  readonly unhealthy: number;
}

export function totalsOf(hosts: readonly HostStatus[], known: Known): Totals {
  const totals = { hosts: hosts.length, inTrouble: 0, bad: 0, off: 0, containers: 0, running: 0, unhealthy: 0 };
  for (const status of hosts) {
    const counts = known.countsOf(status.host);
    const condition = conditionOf(status, known.metricsOf(status.host)?.data ?? null, counts);
    if (isInTrouble(condition)) totals.inTrouble += 1;
    if (condition.tone === "bad") totals.bad += 1;
    if (condition.tone === "muted") totals.off += 1;
    if (counts === null || status.links.containers.state !== "live") continue;
    totals.containers += counts.total;
    totals.running += counts.running;
    totals.unhealthy += counts.unhealthy;
  }
  return totals;
}
