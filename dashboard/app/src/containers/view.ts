/** How the list is looked at, and its form in the URL's query: what is as usual is left out. Pure. */

import type { Filter, HealthFilter, StateFilter } from "./filter.ts";
import type { GroupBy } from "./group.ts";
import { SORT_KEYS, type SortKey } from "./sort.ts";

export interface View extends Filter {
  readonly sort: SortKey;
  readonly descending: boolean;
  readonly group: GroupBy;
}

export const STATE_FILTERS: readonly StateFilter[] = ["all", "running", "stopped", "paused", "restarting"];
export const HEALTH_FILTERS: readonly HealthFilter[] = ["all", "healthy", "unhealthy", "starting", "none"];
export const GROUPS: readonly GroupBy[] = ["project", "host", "none"];

/** What is not understood counts as not said. */
export function viewOf(params: URLSearchParams): View {
  const sort = params.get("sort") ?? "";
  const descending = sort.startsWith("-");
  const key = one(SORT_KEYS, descending ? sort.slice(1) : sort);
  return {
    query: params.get("q") ?? "",
    state: one(STATE_FILTERS, params.get("state")) ?? "all",
    health: one(HEALTH_FILTERS, params.get("health")) ?? "all",
    host: params.get("host") || null,
    sort: key ?? "name",
    descending: key !== undefined && descending,
    group: one(GROUPS, params.get("group")) ?? "project",
  };
}

/** The query with this view in it; what else stands there stays. */
export function withView(params: URLSearchParams, view: View): URLSearchParams {
  const next = new URLSearchParams(params);
  const sort = `${view.descending ? "-" : ""}${view.sort}`;
  put(next, "q", view.query, "");
  put(next, "state", view.state, "all");
  put(next, "health", view.health, "all");
  put(next, "host", view.host ?? "", "");
  put(next, "sort", sort, "name");
  put(next, "group", view.group, "project");
  return next;
}

function put(params: URLSearchParams, name: string, value: string, usual: string): void {
  if (value === usual) params.delete(name);
  else params.set(name, value);
}

function one<T extends string>(known: readonly T[], value: string | null): T | undefined {
  return known.find((candidate) => candidate === value);
}
