import { describe, expect, it } from "vitest";
import { freshness, linkReason, overdueAfterMs } from "../../src/lib/freshness.ts";

const NOW = 1_000_000_000;
const live = { link: { state: "live" }, sampledAt: NOW - 1000, now: NOW, connected: true, kind: "metrics" } as const;

describe("freshness", () => {
  it("is live where link and connection are, and the sample is of now", () => {
    expect(freshness(live)).toEqual({ state: "live", ageMs: 1000, reason: null });
  });

  it("names the connection before anything that was heard over it", () => {
    const shown = freshness({ ...live, connected: false, link: { state: "gone", reason: "silent" } });
    expect(shown).toMatchObject({ state: "stale", reason: "this page has lost its connection" });
  });

  it("is gone where its worker is, with the worker's reason", () => {
    const shown = freshness({ ...live, link: { state: "gone", reason: "silent" } });
    expect(shown).toMatchObject({ state: "gone", ageMs: 1000, reason: "metrics collector gone: silent" });
  });

  it("is stale where its worker is stalled", () => {
    const link = { state: "stalled", reason: "bus-unreachable" } as const;
    expect(freshness({ ...live, link })).toMatchObject({ state: "stale", reason: "the edge cannot reach Redis" });
  });

  it("is stale where samples that come all the time have not come", () => {
    const shown = freshness({ ...live, sampledAt: NOW - overdueAfterMs(live.link) - 1 });
    expect(shown.state).toBe("stale");
    expect(shown.reason).toMatch(/^no new sample for 45/);
  });

  it("waits three intervals of a collector that samples seldom", () => {
    const link = { state: "live", intervalMs: 60_000 } as const;
    expect(freshness({ ...live, link, sampledAt: NOW - 179_000 }).state).toBe("live");
    expect(freshness({ ...live, link, sampledAt: NOW - 181_000 }).state).toBe("stale");
  });

  it("is live where containers, which come on change only, have not changed for a day", () => {
    expect(freshness({ ...live, kind: "containers", sampledAt: NOW - 86_400_000 }).state).toBe("live");
  });

  it("is unknown, and no fault, where nothing has come yet", () => {
    expect(freshness({ ...live, sampledAt: null })).toEqual({ state: "unknown", ageMs: null, reason: null });
    expect(freshness({ ...live, link: undefined, sampledAt: null }).state).toBe("unknown");
  });

  it("is unknown, with the reason, where nothing has come before the connection was lost", () => {
    const shown = freshness({ ...live, sampledAt: null, connected: false });
    expect(shown).toEqual({ state: "unknown", ageMs: null, reason: "this page has lost its connection" });
  });

  it("never has a negative age, where two clocks differ by a little", () => {
    expect(freshness({ ...live, sampledAt: NOW + 400 }).ageMs).toBe(0);
  });

  it("takes an executor that is there for live, though it samples nothing", () => {
    expect(freshness({ ...live, kind: "executor", sampledAt: null }).state).toBe("live");
  });
});

describe("linkReason", () => {
  it("names the collector that brings the kind", () => {
    const silent = { state: "gone", reason: "silent" } as const;
    expect(linkReason("usage", silent)).toBe("containers collector gone: silent");
    expect(linkReason("processes", silent)).toBe("metrics collector gone: silent");
    expect(linkReason("executor", { state: "gone", reason: "never-seen" })).toBe("no executor has been seen here");
    expect(linkReason("containers", { state: "gone", reason: "docker-unreachable" })).toBe("Docker is unreachable");
    expect(linkReason("metrics", { state: "stalled" })).toBe("metrics collector stalled");
    expect(linkReason("metrics", { state: "stalled", reason: "some-new-thing" })).toBe(
      "metrics collector stalled: some new thing",
    );
  });
});
