/** What the list can be sorted by. Pure. */

import type { Container } from "@fleetcast/client";
import { byName } from "./group.ts";
import type { Row } from "./rows.ts";
import { type UsageByHost, usageOf } from "./usage.ts";
import { portWords, shortImage } from "./words.ts";

export const SORT_KEYS = ["name", "host", "image", "health", "status", "ports", "cpu", "memory", "restarts"] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** A row, and what it used when the order was made: undefined where that is not known, or not asked for. */
export interface Entry {
  readonly row: Row;
  readonly cpu: number | undefined;
  readonly memory: number | undefined;
}

/** What changes each second: the order by it is made anew only now and then (useOrder.ts). */
export function isLive(key: SortKey): boolean {
  return key === "cpu" || key === "memory";
}

/** The largest is what one looks for. */
export function descendsFirst(key: SortKey): boolean {
  return isLive(key) || key === "restarts" || key === "health";
}

export function entriesOf(rows: readonly Row[], usage: UsageByHost | null): readonly Entry[] {
  return rows.map((row) => {
    const used = usage === null ? null : usageOf(usage[row.host], row.container.id);
    return { row, cpu: used?.cpuPercent ?? undefined, memory: used?.memoryBytes ?? undefined };
  });
}

/** By name, then host, then id: what a sort finds equal stays so. */
export function inBaseOrder(rows: readonly Row[]): readonly Row[] {
  return rows.toSorted(
    (a, b) =>
      byName(a.container.name, b.container.name) ||
      byName(a.host, b.host) ||
      (a.container.id < b.container.id ? -1 : 1),
  );
}

type Value = number | string | undefined;

/** What a row is sorted by; undefined goes last in either direction. */
export function sortValue({ row: { host, container }, cpu, memory }: Entry, key: SortKey): Value {
  switch (key) {
    case "name":
      return container.name;
    case "host":
      return host;
    case "image":
      return shortImage(container.image);
    case "health":
      return container.health === null ? undefined : HEALTH_RANK[container.health];
    case "status":
      return statusRank(container);
    case "ports":
      return portWords(container.ports)[0];
    case "cpu":
      return cpu;
    case "memory":
      return memory;
    case "restarts":
      return container.restartCount;
  }
}

export function compare(a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return byName(String(a ?? ""), String(b ?? ""));
}

const HEALTH_RANK: Readonly<Record<NonNullable<Container["health"]>, number>> = {
  healthy: 0,
  starting: 1,
  unhealthy: 2,
};
const STATE_RANK: Readonly<Record<Container["state"], number>> = {
  running: 0,
  restarting: 1,
  paused: 2,
  removing: 3,
  created: 4,
  exited: 5,
  dead: 6,
};

/** Running ones first, of these the youngest; then by state, of these what ended last. */
function statusRank({ state, startedAt, finishedAt, createdAt }: Container): number {
  const at = (state === "running" ? startedAt : (finishedAt ?? startedAt)) ?? createdAt;
  return STATE_RANK[state] * 1e14 - at;
}
