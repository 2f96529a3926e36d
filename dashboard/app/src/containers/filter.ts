/** Which rows are looked for. Pure. */

import type { Container } from "@fleetcast/client";
import type { Row } from "./rows.ts";

export type StateFilter = "all" | "running" | "stopped" | "paused" | "restarting";
export type HealthFilter = "all" | "healthy" | "unhealthy" | "starting" | "none";

export interface Filter {
  /** Words: each has to be found in the name, image, project, service, host or a label, or to begin the id. */
  readonly query: string;
  readonly state: StateFilter;
  readonly health: HealthFilter;
  /** Null: all of them. */
  readonly host: string | null;
}

const STATES: Readonly<Record<Exclude<StateFilter, "all">, readonly Container["state"][]>> = {
  running: ["running"],
  stopped: ["created", "exited", "dead", "removing"],
  paused: ["paused"],
  restarting: ["restarting"],
};

/** The same array where all of them fit. */
export function filterRows(rows: readonly Row[], filter: Filter): readonly Row[] {
  const words = filter.query.toLowerCase().split(/\s+/).filter(Boolean);
  const { state, health, host } = filter;
  if (words.length === 0 && state === "all" && health === "all" && host === null) return rows;
  return rows.filter(
    (row) =>
      (host === null || row.host === host) &&
      (state === "all" || STATES[state].includes(row.container.state)) &&
      (health === "all" || (row.container.health ?? "none") === health) &&
      words.every((word) => haystackOf(row).includes(word) || row.container.id.startsWith(word)),
  );
}

const haystacks = new WeakMap<Row, string>();

function haystackOf(row: Row): string {
  const known = haystacks.get(row);
  if (known !== undefined) return known;
  const { name, image, project, service, labels } = row.container;
  const parts = [name, image, project, service, row.host, ...Object.entries(labels).map((label) => label.join("="))];
  // A line each: no word is found across two of them.
  const made = parts.join("\n").toLowerCase();
  haystacks.set(row, made);
  return made;
}
