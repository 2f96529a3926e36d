import { describe, expect, it } from "vitest";
import { conditionOf, isInTrouble } from "../../src/fleet/condition.ts";
import { countsIn } from "../../src/fleet/store.ts";
import { totalsOf } from "../../src/fleet/totals.ts";
import { hostMetrics } from "../history/messages.ts";
import { containersOf, hostGone, hostStatus, link, metricsOf } from "./support.tsx";

const fine = hostMetrics();
const disk = (percent: number) => hostMetrics({ disks: [{ mount: "/data", totalBytes: 1, usedBytes: 1, percent }] });

describe("a host's condition", () => {
  it("is fine where all links are live and nothing is full", () => {
    expect(conditionOf(hostStatus("a"), fine, countsIn(containersOf("a", 3)))).toEqual({ tone: "ok", problems: [] });
  });

  it("is bad where a collector is gone, and names it", () => {
    const links = { metrics: link(), containers: link("gone", "docker-unreachable"), executor: link() };
    const condition = conditionOf(hostStatus("a", { links }), fine, null);
    expect(condition).toEqual({ tone: "bad", problems: ["Docker is unreachable"] });
  });

  it("takes an executor that was never there for no trouble, and one that has gone for some", () => {
    const withExecutor = (executor: ReturnType<typeof link>) =>
      conditionOf(hostStatus("a", { links: { metrics: link(), containers: link(), executor } }), fine, null).tone;
    expect(withExecutor(link("gone", "never-seen"))).toBe("ok");
    expect(withExecutor(link("gone", "silent"))).toBe("warn");
  });

  it("is muted where a host is gone that may be, and bad where it may not", () => {
    expect(conditionOf(hostGone("a", { expected: "sometimes" }), null, null).tone).toBe("muted");
    expect(conditionOf(hostGone("a"), null, null)).toEqual({ tone: "bad", problems: ["gone: nothing is heard of it"] });
    expect(isInTrouble(conditionOf(hostGone("a", { expected: "sometimes" }), null, null))).toBe(false);
  });

  it("warns of unhealthy containers that run, of full disks and memory, the worst first", () => {
    const unhealthy = countsIn(containersOf("a", 1, 2, 5));
    expect(conditionOf(hostStatus("a"), disk(98), unhealthy)).toEqual({
      tone: "bad",
      problems: [expect.stringContaining("/data"), "2 containers unhealthy"],
    });
    expect(conditionOf(hostStatus("a"), disk(91), null).tone).toBe("warn");
    expect(conditionOf(hostStatus("a"), disk(89), null).tone).toBe("ok");
  });

  it("says nothing of values whose link is broken: they are not of now", () => {
    const links = { metrics: link("stalled", "silent"), containers: link("stalled", "silent"), executor: link() };
    const { problems } = conditionOf(hostStatus("a", { links }), disk(99), countsIn(containersOf("a", 0, 3)));
    expect(problems).toEqual(["metrics collector stalled: silent", "containers collector stalled: silent"]);
  });
});

describe("a fleet's totals", () => {
  it("count each host once, and only containers that are known as they are now", () => {
    const silent = { metrics: link(), containers: link("gone", "silent"), executor: link() };
    const hosts = [
      hostStatus("a"),
      hostStatus("b", { links: silent }),
      hostGone("c", { expected: "sometimes" }),
      hostStatus("d"),
    ];
    const counts = { a: containersOf("a", 3, 0, 1), b: containersOf("b", 50), d: containersOf("d", 1, 1) };
    const known = {
      metricsOf: (host: string) => metricsOf(host),
      countsOf: (host: string) => (host in counts ? countsIn(counts[host as keyof typeof counts]) : null),
    };
    expect(totalsOf(hosts, known)).toEqual({
      ...{ hosts: 4, inTrouble: 2, bad: 1, off: 1, containers: 6, running: 5, unhealthy: 1 },
    });
  });
});
