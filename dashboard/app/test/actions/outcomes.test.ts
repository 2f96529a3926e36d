import { describe, expect, it } from "vitest";
import { announce, bulksOf, tally } from "../../src/actions/outcomes.ts";
import { tracked } from "./support.ts";

const bulk = [
  tracked({ key: "b#2", bulk: "b", stage: "running", verb: "stop" }),
  tracked({ key: "b#1", bulk: "b", stage: "rejected", verb: "stop", error: "protected" }),
  tracked({ key: "b#0", bulk: "b", stage: "succeeded", verb: "stop" }),
];

describe("a bulk", () => {
  it("counts each outcome by its own name", () => {
    expect(tally(bulk)).toBe("1 succeeded, 1 refused, 1 under way");
  });

  it("shows trouble first, then what is under way, then what is done", () => {
    const [shown] = bulksOf(bulk);
    expect(shown?.actions.map(({ key }) => key)).toEqual(["b#1", "b#2", "b#0"]);
    expect(shown).toMatchObject({ title: "Stop of 3 containers", done: false, finished: 2 });
  });

  it("goes when all of it was put away", () => {
    expect(bulksOf(bulk.map((action) => ({ ...action, dismissed: true })))).toEqual([]);
  });
});

describe("announce", () => {
  it("tells of each end once", () => {
    const recent = [tracked({ stage: "succeeded", durationMs: 400 })];
    const news = announce(recent, new Set());
    expect(news?.text).toBe("Restart of web on node-1: restarted in 0.4 s.");
    expect(announce(recent, new Set(news?.told))).toBeNull();
  });

  it("says nothing of what is under way", () => {
    expect(announce([tracked({ stage: "running" })], new Set())).toBeNull();
  });

  it("tells of a bulk as a whole, when all of it has ended", () => {
    expect(announce(bulk, new Set())).toBeNull();
    const ended = bulk.map((action) => (action.stage === "running" ? { ...action, stage: "failed" as const } : action));
    expect(announce(ended, new Set())?.text).toBe("Stop of 3 containers: 1 succeeded, 1 failed, 1 refused.");
  });
});
