import type { History, MetricsMessage } from "@fleetcast/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSparkStore } from "../../src/history/sparklines.ts";
import { columns, metrics, NOW } from "./messages.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function fakeSource() {
  const asked: { readonly host: string; readonly answer: (history: History) => void; readonly fail: () => void }[] = [];
  let handler: ((message: MetricsMessage) => void) | null = null;
  const store = createSparkStore({
    fetch: (host) =>
      new Promise((resolve, reject) => {
        asked.push({ host, answer: resolve, fail: () => reject(new Error("503")) });
      }),
    subscribe: (take) => {
      handler = take;
      return () => {
        handler = null;
      };
    },
  });
  return { store, asked, push: (message: MetricsMessage) => handler?.(message), isSubscribed: () => handler !== null };
}

const history: History = { host: "web-1", minutes: 15, metrics: columns([NOW], [42]) };

describe("the store of sparklines", () => {
  it("asks for four hosts at a time, and for the next when one has come", async () => {
    const { store, asked } = fakeSource();
    for (let number = 0; number < 10; number += 1) store.watch(`web-${number}`, vi.fn());
    await vi.advanceTimersByTimeAsync(200);
    expect(asked.map((one) => one.host)).toEqual(["web-0", "web-1", "web-2", "web-3"]);
    asked[1]?.answer(history);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(5);
    asked[0]?.fail();
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(6);
  });

  it("does not ask for what was only scrolled past", async () => {
    const { store, asked } = fakeSource();
    const leave = store.watch("web-1", vi.fn());
    leave();
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toEqual([]);
  });

  it("tells who watches when history has come and when the line is another one", async () => {
    const { store, asked, push } = fakeSource();
    const changed = vi.fn();
    store.watch("web-1", changed);
    await vi.advanceTimersByTimeAsync(200);
    asked[0]?.answer(history);
    await vi.advanceTimersByTimeAsync(0);
    expect(changed).toHaveBeenCalledTimes(1);
    expect(store.sparkOf("web-1")?.cpu.at(-1)).toBe(42);
    push(metrics(NOW + 1000));
    push(metrics(NOW + 2000));
    expect(changed).toHaveBeenCalledTimes(2);
  });

  it("asks once for a host that is watched again, and goes on while it is not", async () => {
    const { store, asked, push } = fakeSource();
    const leave = store.watch("web-1", vi.fn());
    store.watch("web-2", vi.fn());
    await vi.advanceTimersByTimeAsync(200);
    asked[0]?.answer(history);
    await vi.advanceTimersByTimeAsync(0);
    leave();
    push(metrics(NOW + 15_000, 7));
    store.watch("web-1", vi.fn());
    await vi.advanceTimersByTimeAsync(200);
    expect(asked.filter((one) => one.host === "web-1")).toHaveLength(1);
    expect(store.sparkOf("web-1")?.cpu.at(-1)).toBe(7);
  });

  it("asks again half a minute after a failure", async () => {
    const { store, asked } = fakeSource();
    store.watch("web-1", vi.fn());
    await vi.advanceTimersByTimeAsync(200);
    asked[0]?.fail();
    await vi.advanceTimersByTimeAsync(29_000);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked).toHaveLength(2);
  });

  it("is subscribed only while somebody watches", () => {
    const { store, isSubscribed } = fakeSource();
    const leave = [store.watch("web-1", vi.fn()), store.watch("web-2", vi.fn())];
    expect(isSubscribed()).toBe(true);
    for (const one of leave) one();
    expect(isSubscribed()).toBe(false);
  });

  it("forgets hosts that have not been watched for longest", () => {
    const { store } = fakeSource();
    for (let number = 0; number < 700; number += 1) store.watch(`web-${number}`, vi.fn())();
    expect(store.sparkOf("web-0")).toBeNull();
    expect(store.sparkOf("web-699")).not.toBeNull();
  });
});
