/** Rows in groups, and groups with their rows in one list to draw. Pure. */

import type { Row } from "./rows.ts";
import { standingOf } from "./words.ts";

export type GroupBy = "project" | "host" | "none";

export interface Group {
  /** The project's or the host's name; empty for containers without a project. */
  readonly name: string;
  readonly rows: readonly Row[];
}

export type Item =
  | { readonly kind: "group"; readonly key: string; readonly group: Group; readonly collapsed: boolean }
  | { readonly kind: "row"; readonly key: string; readonly row: Row };

/**
 * The rows keep their order within their group. Groups are in the order of their names, those without a name last; or,
 * with `inRowOrder`, each where its first row stands: what was sorted for comes first.
 */
export function groupRows(rows: readonly Row[], by: GroupBy, inRowOrder: boolean): readonly Group[] {
  if (by === "none") return [];
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const name = by === "host" ? row.host : (row.container.project ?? "");
    const there = found.get(name);
    if (there) there.push(row);
    else found.set(name, [row]);
  }
  const groups = Array.from(found, ([name, members]): Group => ({ name, rows: members }));
  return inRowOrder ? groups : groups.sort((a, b) => byName(a.name, b.name));
}

export function itemsOf(
  rows: readonly Row[],
  groups: readonly Group[],
  collapsed: ReadonlySet<string>,
): readonly Item[] {
  if (groups.length === 0) return rows.map(rowItem);
  return groups.flatMap((group): Item[] => {
    const closed = collapsed.has(group.name);
    const head: Item = { kind: "group", key: `group ${group.name}`, group, collapsed: closed };
    return closed ? [head] : [head, ...group.rows.map(rowItem)];
  });
}

export interface Summary {
  readonly total: number;
  readonly running: number;
  readonly unhealthy: number;
  /** Ended badly, by their exit codes. */
  readonly failed: number;
  readonly paused: number;
  /** Restarting, or not known to be healthy yet. */
  readonly starting: number;
  readonly stopped: number;
  readonly hosts: number;
}

export function summaryOf(rows: readonly Row[]): Summary {
  let [total, running, unhealthy, failed, paused, starting, stopped] = [0, 0, 0, 0, 0, 0, 0];
  const hosts = new Set<string>();
  for (const { host, container, goneAt } of rows) {
    if (goneAt !== null) continue;
    const { tone } = standingOf(container);
    total += 1;
    hosts.add(host);
    if (container.state === "running") running += 1;
    if (container.state === "running" && tone === "bad") unhealthy += 1;
    else if (tone === "bad") failed += 1;
    else if (container.state === "paused") paused += 1;
    else if (tone === "warn") starting += 1;
    else if (tone === "muted") stopped += 1;
  }
  return { total, running, unhealthy, failed, paused, starting, stopped, hosts: hosts.size };
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** web-2 before web-10; what has no name last. */
export function byName(a: string, b: string): number {
  if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
  return collator.compare(a, b);
}

function rowItem(row: Row): Item {
  return { kind: "row", key: row.key, row };
}
