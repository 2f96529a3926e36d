import { describe, expect, it } from "vitest";
import { columnsIn, linesOf, stepFrom } from "../../src/fleet/layout.ts";
import { arrange, holdPlaces, isSameOrder, type Known, labelsOf } from "../../src/fleet/order.ts";
import { DEFAULTS, formatQuery, parseQuery } from "../../src/fleet/query.ts";
import { hostGone, hostStatus, link, metricsOf } from "./support.tsx";

const CPU: Readonly<Record<string, number>> = { "web-1": 10, "web-2": 90, "web-10": 50 };
const known: Known = {
  metricsOf: (host) => (host in CPU ? metricsOf(host, CPU[host]) : null),
  countsOf: () => null,
};
const prod = { env: "prod", region: "eu-1" };
const hosts = [
  hostStatus("web-10", { labels: prod }),
  hostStatus("web-2", { labels: { env: "dev" } }),
  hostStatus("web-1", { labels: prod }),
  hostGone("off-1", { expected: "sometimes" }),
  hostGone("lost-1"),
];
const flat = (query: Partial<typeof DEFAULTS>) => arrange(hosts, known, { ...DEFAULTS, ...query })[0]?.hosts;

describe("the order of hosts", () => {
  it("has trouble first, then names as people count, and last who may be off", () => {
    expect(flat({})).toEqual(["lost-1", "web-1", "web-2", "web-10", "off-1"]);
  });

  it("has the most CPU first, and last those of which nothing is known", () => {
    expect(flat({ sort: "cpu" })).toEqual(["web-2", "web-10", "web-1", "lost-1", "off-1"]);
  });

  it("puts a host whose values are old behind those that are known", () => {
    const links = { metrics: link("stalled", "silent"), containers: link(), executor: link() };
    const stalled = hostStatus("web-2", { links });
    const [group] = arrange([hostStatus("web-1"), stalled], known, { ...DEFAULTS, sort: "cpu" });
    expect(group?.hosts).toEqual(["web-1", "web-2"]);
  });

  it("finds by name and by label, each word anywhere", () => {
    expect(flat({ search: "WEB prod" })).toEqual(["web-1", "web-10"]);
    expect(flat({ search: "env=dev" })).toEqual(["web-2"]);
    expect(arrange(hosts, known, { ...DEFAULTS, search: "nothing" })).toEqual([]);
  });

  it("shows those in trouble alone", () => {
    expect(flat({ show: "trouble" })).toEqual(["lost-1"]);
  });

  it("groups by a label, hosts without it last", () => {
    const groups = arrange(hosts, known, { ...DEFAULTS, groupBy: "env" });
    expect(groups.map((group) => group.name)).toEqual(["dev", "prod", ""]);
    expect(groups[1]?.hosts).toEqual(["web-1", "web-10"]);
    expect(labelsOf(hosts)).toEqual(["env", "region"]);
  });
});

describe("an order that is held", () => {
  const all = new Set(["a", "b", "c", "d"]);
  const of = (...names: readonly string[]) => [{ name: "", hosts: names }];

  it("moves nobody, whatever the values are now", () => {
    expect(holdPlaces(of("a", "b", "c"), of("c", "b", "a"), all)).toEqual(of("a", "b", "c"));
  });

  it("keeps who does not belong there any more, and puts who is new at the end", () => {
    expect(holdPlaces(of("a", "b"), of("d", "b"), all)).toEqual(of("a", "b", "d"));
  });

  it("lets go of who has left the roster", () => {
    expect(holdPlaces(of("a", "b", "c"), of("c", "a"), new Set(["a", "c"]))).toEqual(of("a", "c"));
  });

  it("knows the same order again", () => {
    expect(isSameOrder(of("a", "b"), of("a", "b"))).toBe(true);
    expect(isSameOrder(of("a", "b"), of("b", "a"))).toBe(false);
    expect(isSameOrder(of("a"), [])).toBe(false);
  });
});

describe("lines of tiles", () => {
  const groups = [
    { name: "dev", hosts: ["a", "b", "c"] },
    { name: "prod", hosts: ["d"] },
    { name: "", hosts: ["e", "f"] },
  ];
  const lines = linesOf(groups, 2, true);
  const from = (host: string, step: Parameters<typeof stepFrom>[2]) => stepFrom(lines, host, step)?.host;

  it("begin with each group's heading and count places through all of them", () => {
    expect(lines.map((line) => (line.kind === "heading" ? line.group.name : [line.first, ...line.hosts]))).toEqual([
      ...["dev", [0, "a", "b"], [2, "c"]],
      ...["prod", [3, "d"], "", [4, "e", "f"]],
    ]);
  });

  it("are walked along with the arrow keys, over headings and shorter lines", () => {
    expect(from("b", "ArrowRight")).toBe("c");
    expect(from("b", "ArrowDown")).toBe("c");
    expect(from("c", "ArrowDown")).toBe("d");
    expect(from("d", "ArrowUp")).toBe("c");
    expect(from("e", "ArrowLeft")).toBe("d");
    expect(from("d", "Home")).toBe("a");
    expect(from("a", "End")).toBe("f");
    expect(from("a", "ArrowUp")).toBeUndefined();
    expect(from("f", "ArrowRight")).toBeUndefined();
  });

  it("have as many columns as fit, and one where none does", () => {
    expect(columnsIn(1392, 268, 12)).toBe(5);
    expect(columnsIn(548, 268, 12)).toBe(2);
    expect(columnsIn(547, 268, 12)).toBe(1);
    expect(columnsIn(100, 268, 12)).toBe(1);
  });
});

describe("the fleet's query", () => {
  it("comes back from the URL as it went in", () => {
    const query = { search: "a b", sort: "memory", show: "trouble", groupBy: "env", view: "rows" } as const;
    expect(parseQuery(formatQuery(query))).toEqual(query);
    expect(formatQuery(DEFAULTS)).toBe("");
  });

  it("is the default where the URL says what nobody knows", () => {
    expect(parseQuery("?sort=colour&show=some&view=3d&group=")).toEqual(DEFAULTS);
  });
});
