import { describe, expect, it } from "vitest";
import { type Filter, filterRows } from "../../src/containers/filter.ts";
import { id } from "../actions/support.ts";
import { row } from "./support.ts";

const web = row({ id: `ab12${id(1).slice(4)}`, name: "shop-web-1", image: "nginx:1.27", project: "shop" });
const db = row({
  id: id(2),
  name: "shop-db-1",
  image: "postgres:17",
  project: "shop",
  health: "unhealthy",
  labels: { team: "Orders" },
});
const job = row({ id: id(3), name: "backup", image: "restic", state: "exited" }, "node-2");
const rows = [web, db, job];

function names(filter: Partial<Filter>): readonly string[] {
  const all: Filter = { query: "", state: "all", health: "all", host: null, ...filter };
  return filterRows(rows, all).map(({ container }) => container.name);
}

describe("filterRows", () => {
  it.each([
    ["a name", "WEB", ["shop-web-1"]],
    ["an image", "postgres", ["shop-db-1"]],
    ["a project", "shop", ["shop-web-1", "shop-db-1"]],
    ["a host", "node-2", ["backup"]],
    ["the beginning of an id", "ab12", ["shop-web-1"]],
    ["a label", "team=orders", ["shop-db-1"]],
  ])("finds by %s", (_, query, found) => {
    expect(names({ query })).toEqual(found);
  });

  it("wants every word, wherever each is found", () => {
    expect(names({ query: " shop  postgres " })).toEqual(["shop-db-1"]);
    expect(names({ query: "shop restic" })).toEqual([]);
  });

  it("finds no word across two fields, nor in the middle of an id", () => {
    expect(names({ query: "webnginx" })).toEqual([]);
    expect(names({ query: "b120" })).toEqual([]);
  });

  it("narrows to a state, a health and a host", () => {
    expect(names({ state: "stopped" })).toEqual(["backup"]);
    expect(names({ health: "unhealthy" })).toEqual(["shop-db-1"]);
    expect(names({ health: "none" })).toEqual(["shop-web-1", "backup"]);
    expect(names({ host: "node-1", state: "running" })).toEqual(["shop-web-1", "shop-db-1"]);
  });

  it("is the same list where nothing is asked for", () => {
    expect(filterRows(rows, { query: "  ", state: "all", health: "all", host: null })).toBe(rows);
  });
});
