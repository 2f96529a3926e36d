import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createActionStore } from "../../src/actions/store.ts";
import { expectationOf, expiresInSec, MAX_CHOSEN, submit } from "../../src/actions/submit.ts";
import type { Chosen } from "../../src/actions/verb.ts";
import { container, fakeDoer, id } from "./support.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const one: Chosen = { host: "node-1", container: container() };

function many(count: number, hosts = 1): readonly Chosen[] {
  return Array.from({ length: count }, (_, index) => ({
    host: `node-${index % hosts}`,
    container: container({ id: id(index), name: `web-${index}` }),
  }));
}

describe("submit", () => {
  it("sends what was on the screen as what is expected", () => {
    const client = fakeDoer();
    submit(client, "restart", [one], createActionStore());
    expect(client.asked[0]?.request).toMatchObject({
      host: "node-1",
      containerId: one.container.id,
      action: "restart",
      expect: { id: one.container.id, state: "running", startedAt: 2_000 },
    });
  });

  it("expects no beginning of a container that never ran", () => {
    const created = container({ state: "created", startedAt: null });
    expect(expectationOf({ host: "node-1", container: created })).toEqual({ id: created.id, state: "created" });
  });

  it("shows each stage as its ack comes, and the end when the outcome does", async () => {
    const client = fakeDoer();
    const store = createActionStore();
    const stage = () => store.recent()[0]?.stage;
    submit(client, "restart", [one], store);
    expect(stage()).toBe("sent");
    client.asked[0]?.ack("accepted");
    expect(stage()).toBe("accepted");
    client.asked[0]?.ack("running");
    expect(stage()).toBe("running");
    client.asked[0]?.settle({ status: "succeeded", durationMs: 400 });
    await vi.advanceTimersByTimeAsync(0);
    expect(store.recent()[0]).toMatchObject({ stage: "succeeded", durationMs: 400, dismissed: false });
  });

  it("puts a success away after a few seconds, and leaves anything else", async () => {
    const client = fakeDoer();
    const store = createActionStore();
    submit(client, "restart", many(2), store);
    client.asked[0]?.settle({ status: "succeeded" });
    client.asked[1]?.settle({ status: "rejected", error: "no" });
    await vi.advanceTimersByTimeAsync(60_000);
    const dismissed = Object.fromEntries(store.recent().map(({ stage, dismissed }) => [stage, dismissed]));
    expect(dismissed).toEqual({ succeeded: true, rejected: false });
  });

  it("makes one action of two clicks", () => {
    const client = fakeDoer();
    const store = createActionStore();
    submit(client, "restart", [one], store);
    submit(client, "restart", [one], store);
    expect(client.asked).toHaveLength(1);
    submit(client, "stop", [one], store);
    expect(client.asked).toHaveLength(2);
  });

  it("sends several as one request, each with its own expectation and outcome", async () => {
    const client = fakeDoer();
    const store = createActionStore();
    submit(client, "stop", many(3), store);
    expect(client.bulks).toHaveLength(1);
    expect(client.bulks[0]?.targets.map((target) => target.expect?.id)).toEqual([id(0), id(1), id(2)]);
    client.asked[1]?.settle({ status: "failed", error: "no" });
    await vi.advanceTimersByTimeAsync(0);
    expect(store.of("node-0", id(1))[0]).toMatchObject({ stage: "failed", target: 1 });
    expect(store.of("node-0", id(2))[0]?.stage).toBe("sent");
  });

  it("splits more than a hundred, at a pace that the edge takes", () => {
    const client = fakeDoer();
    const store = createActionStore();
    submit(client, "stop", many(250), store);
    expect(client.bulks.map(({ targets }) => targets.length)).toEqual([100]);
    expect(store.recent().filter(({ stage }) => stage === "queued")).toHaveLength(150);
    vi.advanceTimersByTime(5_000);
    expect(client.bulks).toHaveLength(1);
    vi.advanceTimersByTime(10_000);
    expect(client.bulks.map(({ targets }) => targets.length)).toEqual([100, 100, 50]);
    expect(store.recent().every(({ stage }) => stage === "sent")).toBe(true);
    expect(new Set(client.bulks.map(({ requestId }) => requestId)).size).toBe(3);
  });

  it("takes no more than its bound", () => {
    const store = createActionStore();
    submit(fakeDoer(), "stop", many(MAX_CHOSEN + 20), store);
    expect(store.recent()).toHaveLength(MAX_CHOSEN);
  });
});

describe("expiresInSec", () => {
  it("leaves many on one host the time to come to their turn, and has an end", () => {
    expect(expiresInSec(many(1))).toBe(30);
    expect(expiresInSec(many(20))).toBe(68);
    expect(expiresInSec(many(20, 20))).toBe(30);
    expect(expiresInSec(many(500))).toBe(600);
  });
});
