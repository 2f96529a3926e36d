/** Which time a chart shows and where its crosshair goes: decisions on numbers, no clock and no DOM. */

import type { TimeWindow } from "./spec.ts";

export const RANGES = [15, 60, 360, 1440] as const;
export type RangeMinutes = (typeof RANGES)[number];

/** From the URL's query; 15 where it names none that there is. */
export function rangeOf(text: string | null): RangeMinutes {
  return RANGES.find((minutes) => String(minutes) === text) ?? 15;
}

export function rangeLabel(minutes: RangeMinutes): string {
  return minutes < 60 ? `${minutes} min` : `${minutes / 60} h`;
}

/** A time as exact as the range has it: with seconds up to an hour, with the day beyond. On this machine's clock. */
export function crosshairTime(at: number, minutes: RangeMinutes): string {
  return (minutes <= 60 ? TO_THE_SECOND : TO_THE_MINUTE).format(Math.floor(at));
}

const TO_THE_SECOND = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const TO_THE_MINUTE = new Intl.DateTimeFormat("en-GB", {
  ...{ day: "numeric", month: "short" },
  ...{ hour: "2-digit", minute: "2-digit" },
});

/** So long a silence is not yet shown as a gap that grows at the right edge. */
const SLACK_MS = 15_000;
/** A range moves in so many steps of its width, which is about a pixel each, and no longer ones than this. */
const STEPS = 900;
const LONGEST_STEP_MS = 10_000;

/**
 * The window that ends now. Its end is the last sample while they come, so that nothing moves between two; else the
 * clock, so that a silence shows.
 */
export function liveWindow(minutes: RangeMinutes, lastAt: number | null, now: number): TimeWindow {
  const stepMs = Math.min((minutes * 60_000) / STEPS, LONGEST_STEP_MS);
  const edge = lastAt !== null && now - lastAt < SLACK_MS ? lastAt : now;
  const max = minutes <= 15 ? edge : Math.ceil(edge / stepMs) * stepMs;
  return { min: max - minutes * 60_000, max };
}

/**
 * Changes when the charts are to be drawn anew: up to 15 minutes with each sample; beyond with the window, which is less
 * often, and when history has come, which begins earlier than what was there.
 */
export function drawKey(
  minutes: RangeMinutes,
  series: { readonly version: number; readonly t: readonly number[] } | null,
  windowEnd: number,
): string {
  if (series === null) return "";
  return minutes <= 15 ? `${series.version}` : `${windowEnd} ${series.t[0]}`;
}

/** What was dragged out, if it is worth looking at: null for less than five seconds. */
export function zoomWindow(from: number, to: number): TimeWindow | null {
  const [min, max] = from < to ? [from, to] : [to, from];
  return max - min < 5000 ? null : { min, max };
}

/** In or out by a factor around a time, within `whole`; null where that is all of it. */
export function zoomAround(window: TimeWindow, whole: TimeWindow, at: number, factor: number): TimeWindow | null {
  const zoomed = {
    min: Math.max(whole.min, at - (at - window.min) * factor),
    max: Math.min(whole.max, at + (window.max - at) * factor),
  };
  if (zoomed.min <= whole.min && zoomed.max >= whole.max) return null;
  return zoomWindow(zoomed.min, zoomed.max) ?? window;
}

/** Where a key takes the crosshair, as an index from `first` to `last`; null where the key is not for it. */
export function moveCrosshair(
  key: string,
  far: boolean,
  index: number | null,
  first: number,
  last: number,
): number | null {
  const step = far ? Math.max(2, Math.round((last - first) / 20)) : 1;
  const to = targetOf(key, step, index, first, last);
  return to === null ? null : Math.min(last, Math.max(first, to));
}

/** The first step is onto the newest sample. */
function targetOf(key: string, step: number, index: number | null, first: number, last: number): number | null {
  switch (key) {
    case "ArrowLeft":
      return index === null ? last : index - step;
    case "ArrowRight":
      return index === null ? last : index + step;
    case "Home":
      return first;
    case "End":
      return last;
    default:
      return null;
  }
}
