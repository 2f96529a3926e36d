/** Groups of hosts as lines of tiles: what stands where, and what is beside it. Pure. */

import type { Group } from "./order.ts";

export type Line =
  | { readonly kind: "heading"; readonly group: Group }
  | { readonly kind: "hosts"; readonly hosts: readonly string[]; readonly first: number };

/** `first`: the place of a line's first host among all hosts, from 0. */
export function linesOf(groups: readonly Group[], columns: number, headings: boolean): readonly Line[] {
  const lines: Line[] = [];
  let first = 0;
  for (const group of groups) {
    if (headings) lines.push({ kind: "heading", group });
    for (let start = 0; start < group.hosts.length; start += columns) {
      const hosts = group.hosts.slice(start, start + columns);
      lines.push({ kind: "hosts", hosts, first });
      first += hosts.length;
    }
  }
  return lines;
}

export function columnsIn(width: number, narrowest: number, gap: number): number {
  return Math.max(1, Math.floor((width + gap) / (narrowest + gap)));
}

export type Step = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown" | "Home" | "End";

export function isStep(key: string): key is Step {
  return /^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(key);
}

export interface Place {
  readonly host: string;
  readonly line: number;
}

/** Where a key leads from a host; null where there is nothing. */
export function stepFrom(lines: readonly Line[], host: string, step: Step): Place | null {
  const places = lines.map((line) => (line.kind === "hosts" ? line.hosts : []));
  const at = places.findIndex((hosts) => hosts.includes(host));
  const column = places[at]?.indexOf(host) ?? -1;
  switch (step) {
    case "Home":
      return along(places, 0, 1, 0);
    case "End":
      return along(places, places.length - 1, -1, Number.POSITIVE_INFINITY);
    case "ArrowLeft":
      return column > 0 ? along(places, at, 1, column - 1) : along(places, at - 1, -1, Number.POSITIVE_INFINITY);
    case "ArrowRight":
      return column + 1 < (places[at]?.length ?? 0) ? along(places, at, 1, column + 1) : along(places, at + 1, 1, 0);
    case "ArrowUp":
      return along(places, at - 1, -1, column);
    case "ArrowDown":
      return along(places, at + 1, 1, column);
  }
}

/** The host in this column of the next line that has any, or the last one of a shorter line. */
function along(places: readonly (readonly string[])[], from: number, by: 1 | -1, column: number): Place | null {
  for (let line = from; line >= 0 && line < places.length; line += by) {
    const hosts = places[line] ?? [];
    const host = hosts[Math.min(column, hosts.length - 1)];
    if (host !== undefined) return { host, line };
  }
  return null;
}
