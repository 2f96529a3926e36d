import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createFleetStore } from "../../src/fleet/store.ts";
import { containersOf, fakeClient, metricsOf } from "./support.tsx";

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

function begun() {
  const fake = fakeClient();
  const store = createFleetStore(fake.client, () => Date.now());
  return { ...fake, store, stop: store.start() };
}

/** Both channels are subscribed to. */
function started() {
  const found = begun();
  vi.advanceTimersByTime(500);
  return found;
}

describe("the fleet's store", () => {
  it("shows the first values soon, and asks for containers when they are there", () => {
    const { store, push, subscribers } = begun();
    const watched = vi.fn();
    store.watch("a", watched);
    push("metrics", metricsOf("a"));
    expect(subscribers("containers")).toBe(0);
    vi.advanceTimersByTime(50);
    expect(watched).toHaveBeenCalledTimes(1);
    push("metrics", metricsOf("a"));
    expect(subscribers("containers")).toBe(1);
  });

  it("asks for containers too where there are no metrics", () => {
    const { subscribers } = begun();
    vi.advanceTimersByTime(500);
    expect(subscribers("containers")).toBe(1);
  });

  it("tells who watches of many messages at once, and nobody else", () => {
    const { store, push } = started();
    const [watched, other] = [vi.fn(), vi.fn()];
    store.watch("a", watched);
    store.watch("b", other);
    push("metrics", metricsOf("a", 1));
    push("metrics", metricsOf("a", 2));
    push("containers", containersOf("a", 2, 1, 1));
    expect(watched).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    expect(watched).toHaveBeenCalledTimes(1);
    expect(other).not.toHaveBeenCalled();
    expect(store.metricsOf("a")?.data.cpu.percent).toBe(2);
    expect(store.countsOf("a")).toMatchObject({ total: 4, running: 3, unhealthy: 1 });
  });

  it("needs no timer for hosts that nobody looks at", () => {
    const { store, push } = started();
    push("metrics", metricsOf("a"));
    expect(vi.getTimerCount()).toBe(0);
    expect(store.metricsOf("a")).not.toBeNull();
  });

  it("forgets hosts that have left the roster", () => {
    const { store, push } = started();
    push("metrics", metricsOf("a"));
    push("metrics", metricsOf("b"));
    store.keep(new Set(["b"]));
    expect(store.metricsOf("a")).toBeNull();
    expect(store.metricsOf("b")).not.toBeNull();
  });

  it("leaves both channels when it is stopped", () => {
    const { stop, subscribers } = started();
    expect([subscribers("metrics"), subscribers("containers")]).toEqual([1, 1]);
    stop();
    expect([subscribers("metrics"), subscribers("containers")]).toEqual([0, 0]);
  });
});
