import { describe, expect, it } from "vitest";
import { byName, groupRows, itemsOf, summaryOf } from "../../src/containers/group.ts";
import { id } from "../actions/support.ts";
import { row } from "./support.ts";

const rows = [
  row({ id: id(1), name: "z", project: "web" }),
  row({ id: id(2), name: "y" }),
  row({ id: id(3), name: "x", project: "db" }, "node-2"),
  row({ id: id(4), name: "w", project: "web" }, "node-2"),
];

describe("groupRows", () => {
  it("puts projects in the order of their names, and what has none last, each in the rows' order", () => {
    const groups = groupRows(rows, "project", false);
    expect(groups.map(({ name, rows: of }) => [name, of.map((one) => one.container.name)])).toEqual([
      ["db", ["x"]],
      ["web", ["z", "w"]],
      ["", ["y"]],
    ]);
  });

  it("has the group of the first row first where the rows were sorted by something else", () => {
    expect(groupRows(rows, "project", true).map(({ name }) => name)).toEqual(["web", "", "db"]);
  });

  it("groups by host, or not at all", () => {
    expect(groupRows(rows, "host", false).map(({ name, rows: of }) => [name, of.length])).toEqual([
      ["node-1", 2],
      ["node-2", 2],
    ]);
    expect(groupRows(rows, "none", false)).toEqual([]);
  });
});

describe("itemsOf", () => {
  it("leaves out the rows of what is collapsed, and keeps its head", () => {
    const items = itemsOf(rows, groupRows(rows, "project", false), new Set(["web"]));
    expect(items.map((item) => (item.kind === "group" ? `# ${item.group.name}` : item.row.container.name))).toEqual([
      "# db",
      "x",
      "# web",
      "# ",
      "y",
    ]);
  });

  it("is the rows alone without groups", () => {
    expect(itemsOf(rows, [], new Set()).map(({ key }) => key)).toEqual(rows.map(({ key }) => key));
  });
});

describe("summaryOf", () => {
  it("counts each container by how it is, and none that is gone", () => {
    const all = [
      row({ id: id(1) }),
      row({ id: id(2), health: "unhealthy" }),
      row({ id: id(3), health: "starting" }, "node-2"),
      row({ id: id(4), state: "paused" }),
      row({ id: id(5), state: "exited", exitCode: 0 }),
      row({ id: id(6), state: "exited", exitCode: 2 }),
      { ...row({ id: id(7) }, "node-3"), goneAt: 1 },
    ];
    expect(summaryOf(all)).toEqual({
      total: 6,
      running: 3,
      unhealthy: 1,
      failed: 1,
      paused: 1,
      starting: 1,
      stopped: 1,
      hosts: 2,
    });
  });
});

describe("byName", () => {
  it("counts numbers as numbers", () => {
    expect(["web-10", "web-2", "Web-1"].sort(byName)).toEqual(["Web-1", "web-2", "web-10"]);
  });
});
