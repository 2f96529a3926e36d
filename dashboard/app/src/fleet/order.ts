/** Which hosts are shown, in which groups and in which order. Pure. */

import type { HostStatus, MetricsMessage } from "@fleetcast/client";
import { type Condition, conditionOf, isInTrouble, SEVERITY } from "./condition.ts";
import type { FleetQuery, Sort } from "./query.ts";
import type { Counts } from "./store.ts";

export interface Group {
  /** The label's value; "" where hosts have none, and where nothing is grouped. */
  readonly name: string;
  readonly hosts: readonly string[];
}

export interface Known {
  readonly metricsOf: (host: string) => MetricsMessage | null;
  readonly countsOf: (host: string) => Counts | null;
}

/** Sorted by what they are now; equals by name, so that an order is never by chance. */
export function arrange(hosts: readonly HostStatus[], known: Known, query: FleetQuery): readonly Group[] {
  const wanted = searchTest(query.search);
  const entries = hosts
    .filter(wanted)
    .map((status) => entryOf(status, known, query.sort))
    .filter((entry) => query.show === "all" || isInTrouble(entry.condition));
  entries.sort((a, b) => b.rank - a.rank || byName(a.status.host, b.status.host));
  const groups = new Map<string, string[]>();
  for (const { status } of entries) {
    const name = query.groupBy === null ? "" : (status.labels[query.groupBy] ?? "");
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [status.host]);
    else group.push(status.host);
  }
  return [...groups.entries()].sort(([a], [b]) => byGroupName(a, b)).map(([name, those]) => ({ name, hosts: those }));
}

/**
 * The places as they were, for as long as somebody points there: whoever does not belong there any more stays, as long
 * as the roster has it, and who is new stands at the end.
 */
export function holdPlaces(
  before: readonly Group[],
  now: readonly Group[],
  roster: ReadonlySet<string>,
): readonly Group[] {
  const placed = new Set<string>();
  const held = before.map(({ name, hosts }) => {
    const kept = hosts.filter((host) => roster.has(host));
    for (const host of kept) placed.add(host);
    return { name, hosts: kept };
  });
  for (const { name, hosts } of now) {
    const added = hosts.filter((host) => !placed.has(host));
    const at = held.findIndex((group) => group.name === name);
    const group = held[at];
    if (group !== undefined) held[at] = { name, hosts: [...group.hosts, ...added] };
    else if (added.length > 0) held.push({ name, hosts: added });
  }
  return held;
}

/** Whether two orders are the same one: then nothing has to be laid out again. */
export function isSameOrder(a: readonly Group[], b: readonly Group[]): boolean {
  const isSame = (one: Group, other: Group | undefined) =>
    one.name === other?.name &&
    one.hosts.length === other.hosts.length &&
    one.hosts.every((host, index) => host === other.hosts[index]);
  return a.length === b.length && a.every((group, index) => isSame(group, b[index]));
}

/** Labels that hosts have, sorted: what they may be grouped by. */
export function labelsOf(hosts: readonly HostStatus[]): readonly string[] {
  const found = new Set<string>();
  for (const { labels } of hosts) for (const label of Object.keys(labels)) found.add(label);
  return [...found].sort(byName);
}

const names = new Intl.Collator("en", { numeric: true });

function byName(a: string, b: string): number {
  return names.compare(a, b);
}

/** Hosts without the label come last. */
function byGroupName(a: string, b: string): number {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  return byName(a, b);
}

/** Each word has to be in the name, or in a label's value or "key=value". */
function searchTest(search: string): (status: HostStatus) => boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return () => true;
  return (status) => {
    const labels = Object.entries(status.labels).map(([key, value]) => `${key}=${value}`);
    const text = [status.host, ...labels].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

interface Entry {
  readonly status: HostStatus;
  readonly condition: Condition;
  /** The largest first. */
  readonly rank: number;
}

function entryOf(status: HostStatus, known: Known, sort: Sort): Entry {
  const message = known.metricsOf(status.host);
  const condition = conditionOf(status, message?.data ?? null, known.countsOf(status.host));
  return { status, condition, rank: rankOf(status, message, condition, sort) };
}

/** A host whose values are old stands behind those that are known: it is not using this now. */
function rankOf(status: HostStatus, message: MetricsMessage | null, condition: Condition, sort: Sort): number {
  if (sort === "name") return 0;
  if (sort === "trouble") return SEVERITY[condition.tone];
  if (message === null || status.links.metrics.state !== "live") return -1;
  const { data } = message;
  if (sort === "cpu") return data.cpu.percent;
  if (sort === "memory") return data.memory.percent;
  let bytesPerSec = 0;
  for (const one of data.network) bytesPerSec += one.rxBytesPerSec + one.txBytesPerSec;
  return bytesPerSec;
}
