import { describe, expect, it } from "vitest";
import {
  crosshairTime,
  drawKey,
  liveWindow,
  moveCrosshair,
  rangeOf,
  zoomAround,
  zoomWindow,
} from "../../src/host/timeline.ts";

const MINUTE = 60_000;
const NOW = 1_800_000_000_000;

describe("the range", () => {
  it("comes from the query, and is 15 minutes where that says nothing sensible", () => {
    expect(rangeOf("360")).toBe(360);
    for (const text of [null, "", "7", "60 ", "1e3"]) expect(rangeOf(text)).toBe(15);
  });
});

describe("the live window", () => {
  it("ends with the last sample while samples come, so that nothing moves between two", () => {
    expect(liveWindow(15, NOW - 900, NOW)).toEqual({ min: NOW - 900 - 15 * MINUTE, max: NOW - 900 });
    expect(liveWindow(15, NOW - 900, NOW + 5000).max).toBe(NOW - 900);
  });

  it("ends now when samples have stopped, so that the silence shows", () => {
    expect(liveWindow(15, NOW - 60_000, NOW).max).toBe(NOW);
    expect(liveWindow(15, null, NOW).max).toBe(NOW);
  });

  it("moves in steps on a long range, and never hides the last sample", () => {
    const ends = new Set(Array.from({ length: 90 }, (_, second) => liveWindow(1440, NOW + second * 1000, NOW).max));
    expect(ends.size).toBeLessThanOrEqual(10);
    expect(Math.min(...ends)).toBeGreaterThanOrEqual(NOW);
  });
});

describe("the charts", () => {
  it("are drawn with each sample of a short range, and of a long one when the window moves or history comes", () => {
    const live = { version: 7, t: [NOW] };
    const next = { version: 8, t: [NOW, NOW + 1000] };
    const filled = { version: 9, t: [NOW - MINUTE, NOW, NOW + 1000] };
    expect(drawKey(15, next, NOW)).not.toBe(drawKey(15, live, NOW));
    expect(drawKey(360, next, NOW)).toBe(drawKey(360, live, NOW));
    expect(drawKey(360, next, NOW + 10_000)).not.toBe(drawKey(360, next, NOW));
    expect(drawKey(360, filled, NOW)).not.toBe(drawKey(360, next, NOW));
  });
});

describe("zooming", () => {
  it("takes what was dragged out in either direction, and nothing for less than five seconds", () => {
    expect(zoomWindow(NOW + 9000, NOW)).toEqual({ min: NOW, max: NOW + 9000 });
    expect(zoomWindow(NOW, NOW + 4999)).toBeNull();
  });

  it("goes in around a time and out again, no further than there is something", () => {
    const whole = { min: NOW, max: NOW + 8 * MINUTE };
    const closer = zoomAround(whole, whole, NOW + 2 * MINUTE, 0.5);
    expect(closer).toEqual({ min: NOW + MINUTE, max: NOW + 5 * MINUTE });
    expect(zoomAround(closer ?? whole, whole, NOW + 2 * MINUTE, 2)).toBeNull();
  });

  it("stays where it is when it could only go in to nothing", () => {
    const view = { min: NOW, max: NOW + 6000 };
    expect(zoomAround(view, { min: NOW - MINUTE, max: NOW + MINUTE }, NOW + 3000, 0.5)).toBe(view);
  });
});

describe("the keyboard", () => {
  it("begins at the newest sample and goes from one to the next", () => {
    expect(moveCrosshair("ArrowLeft", false, null, 0, 900)).toBe(900);
    expect(moveCrosshair("ArrowLeft", false, 900, 0, 900)).toBe(899);
    expect(moveCrosshair("ArrowRight", false, 899, 0, 900)).toBe(900);
  });

  it("goes further with shift, and never beyond the ends", () => {
    expect(moveCrosshair("ArrowLeft", true, 100, 0, 900)).toBe(55);
    expect(moveCrosshair("ArrowLeft", true, 10, 0, 900)).toBe(0);
    expect(moveCrosshair("ArrowRight", false, 900, 0, 900)).toBe(900);
    expect(moveCrosshair("Home", false, 500, 20, 900)).toBe(20);
    expect(moveCrosshair("End", false, 500, 20, 900)).toBe(900);
  });

  it("leaves the other keys to the page", () => {
    for (const key of ["ArrowUp", "a", "Tab", "toString"]) expect(moveCrosshair(key, false, 5, 0, 9)).toBeNull();
  });
});

it("says the time under the crosshair as exactly as the range has it", () => {
  const at = new Date(2026, 10, 24, 9, 5, 30, 500).getTime() + 0.5; // a gap's row stands between two milliseconds
  expect(crosshairTime(at, 15)).toBe("09:05:30");
  expect(crosshairTime(at, 1440)).toMatch(/^24 Nov,? 09:05$/);
});
