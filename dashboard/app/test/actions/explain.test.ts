import { describe, expect, it } from "vitest";
import { explain, took } from "../../src/actions/explain.ts";
import type { StageName } from "../../src/actions/store.ts";
import { tracked } from "./support.ts";

const STAGES: readonly StageName[] = [
  "queued",
  "sent",
  "accepted",
  "running",
  "succeeded",
  "failed",
  "expired",
  "rejected",
  "unknown",
];

describe("explain", () => {
  it("names the container and the host at every stage", () => {
    for (const stage of STAGES) expect(explain(tracked({ stage })).full).toContain("Restart of web on node-1");
  });

  it("says that something was done only where the executor has said so", () => {
    const done = STAGES.filter((stage) => {
      const { tone, short } = explain(tracked({ stage, durationMs: 400 }));
      return tone === "ok" || short.startsWith("restarted");
    });
    expect(done).toEqual(["succeeded"]);
  });

  it("says how long it took, and that nothing had to be done", () => {
    expect(explain(tracked({ stage: "succeeded", durationMs: 412 })).short).toBe("restarted in 0.4 s");
    expect(explain(tracked({ stage: "succeeded", verb: "stop", noop: true })).short).toBe("was stopped already");
  });

  it("tells to look before trying again where nobody knows", () => {
    const told = explain(tracked({ stage: "unknown", error: "the executor was restarted" }));
    expect(told.tone).toBe("warn");
    expect(told.full).toContain("cannot tell whether it happened. Look before you try again.");
    expect(told.full).toContain("the executor was restarted");
  });

  it("gives Docker's own words where Docker refused, and the executor's where it did", () => {
    expect(explain(tracked({ stage: "failed", error: "no such image" })).full).toContain("Docker says: no such image.");
    expect(explain(tracked({ stage: "rejected", error: "the container is protected" })).full).toContain(
      "refused and not done. Because: the container is protected.",
    );
  });

  it("tells a container that has changed from one that may not be touched", () => {
    const { full } = explain(tracked({ stage: "rejected", error: "expected state running, found exited" }));
    expect(full).toContain("not as you saw it: expected state running, found exited.");
  });

  it("does not pretend a reason where none came", () => {
    expect(explain(tracked({ stage: "failed" })).full).toContain("No reason was given.");
  });

  it("asks for patience where there were too many", () => {
    expect(explain(tracked({ stage: "rejected", code: "rate-limited", error: "x" })).full).toContain("few seconds");
  });
});

describe("took", () => {
  it("counts tenths below ten seconds and whole ones above", () => {
    expect(took(40)).toBe("0.0 s");
    expect(took(9_940)).toBe("9.9 s");
    expect(took(31_400)).toBe("31\u202fs");
  });
});
