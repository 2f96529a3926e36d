import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { makeClock } from "../../src/lib/clock.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 10_500 });
});
afterEach(() => {
  vi.useRealTimers();
});

function page() {
  let hidden = false;
  const handlers: (() => void)[] = [];
  return {
    isHidden: () => hidden,
    onVisibility: (run: () => void) => void handlers.push(run),
    hide: (yes: boolean) => {
      hidden = yes;
      for (const handler of handlers) handler();
    },
  };
}

it("ticks once a second for all that listen, with one timer", () => {
  const clock = makeClock(Date.now, page());
  const one = vi.fn();
  const other = vi.fn();
  clock.subscribe(one);
  clock.subscribe(other);
  one.mockClear();
  other.mockClear();
  vi.advanceTimersByTime(3000);
  expect(one).toHaveBeenCalledTimes(3);
  expect(other).toHaveBeenCalledTimes(3);
  expect(vi.getTimerCount()).toBe(1);
});

it("reads the same between two ticks, in the asked steps", () => {
  const clock = makeClock(Date.now, page());
  clock.subscribe(() => undefined);
  expect(clock.read(1000)).toBe(10_000);
  vi.advanceTimersByTime(900);
  expect(clock.read(1000)).toBe(10_000);
  vi.advanceTimersByTime(100);
  expect(clock.read(1000)).toBe(11_000);
  expect(clock.read(10_000)).toBe(10_000);
});

it("has no timer while nobody listens", () => {
  const clock = makeClock(Date.now, page());
  const leave = clock.subscribe(() => undefined);
  leave();
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(5000);
  expect(clock.read(1000)).toBe(15_000);
});

it("stands still while the tab is hidden, and is right at once when it is shown again", () => {
  const shown = page();
  const clock = makeClock(Date.now, shown);
  const heard = vi.fn();
  clock.subscribe(heard);
  heard.mockClear();
  shown.hide(true);
  vi.advanceTimersByTime(60_000);
  expect(heard).not.toHaveBeenCalled();
  expect(clock.read(1000)).toBe(10_000);
  shown.hide(false);
  expect(heard).toHaveBeenCalledTimes(1);
  expect(clock.read(1000)).toBe(70_000);
});
