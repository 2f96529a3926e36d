/** What of the fleet is shown, and in which order: kept in the URL's query, so that a link shows the same. Pure. */

export const SORTS = ["trouble", "name", "cpu", "memory", "network"] as const;
export type Sort = (typeof SORTS)[number];

export interface FleetQuery {
  readonly search: string;
  readonly sort: Sort;
  readonly show: "all" | "trouble";
  /** A label; null: no groups. */
  readonly groupBy: string | null;
  readonly view: "tiles" | "rows";
}

export const DEFAULTS: FleetQuery = { search: "", sort: "trouble", show: "all", groupBy: null, view: "tiles" };

/** Whatever stands in the URL: what is not known is as if it were not there. */
export function parseQuery(text: string): FleetQuery {
  const query = new URLSearchParams(text);
  const sort = SORTS.find((one) => one === query.get("sort"));
  return {
    search: query.get("q") ?? "",
    sort: sort ?? DEFAULTS.sort,
    show: query.get("show") === "trouble" ? "trouble" : "all",
    groupBy: query.get("group") || null,
    view: query.get("view") === "rows" ? "rows" : "tiles",
  };
}

/** "?q=web&sort=cpu", or "" where all is as it is by default. */
export function formatQuery(query: FleetQuery): string {
  const parts = new URLSearchParams();
  if (query.search !== "") parts.set("q", query.search);
  if (query.sort !== DEFAULTS.sort) parts.set("sort", query.sort);
  if (query.show !== DEFAULTS.show) parts.set("show", query.show);
  if (query.groupBy !== null) parts.set("group", query.groupBy);
  if (query.view !== DEFAULTS.view) parts.set("view", query.view);
  const text = parts.toString();
  return text === "" ? "" : `?${text}`;
}
