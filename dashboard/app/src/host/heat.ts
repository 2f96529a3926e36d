/** Cores over time as a strip of colours: core 0 at the top, a column of pixels for each moment. */

import type { Columns } from "./spec.ts";

export type Rgb = readonly [red: number, green: number, blue: number];

/** 101 colours packed as ImageData's 32 bits, for 0 to 100 percent. */
export function heatColors(cold: Rgb, warm: Rgb, hot: Rgb): Uint32Array {
  return Uint32Array.from({ length: 101 }, (_, percent) => {
    const [from, to, part] = percent < 60 ? [cold, warm, percent / 60] : [warm, hot, (percent - 60) / 40];
    const [red, green, blue] = from.map((value, index) => Math.round(value + ((to[index] ?? value) - value) * part));
    return ((255 << 24) | ((blue ?? 0) << 16) | ((green ?? 0) << 8) | (red ?? 0)) >>> 0;
  });
}

/**
 * Fills `pixels`, `width` by one row a core, with the time from `min` to `max`; transparent where there is no value. A
 * sample lasts until the next one: a gap is a row of nulls.
 */
export function paintHeat(
  pixels: Uint32Array,
  width: number,
  columns: Columns,
  window: { readonly min: number; readonly max: number },
  colors: Uint32Array,
): void {
  const [times, ...cores] = columns;
  pixels.fill(0);
  if (times.length === 0 || width === 0) return;
  const msPerPixel = (window.max - window.min) / width;
  let row = -1;
  for (let x = 0; x < width; x++) {
    const until = window.min + (x + 1) * msPerPixel;
    while (row + 1 < times.length && (times[row + 1] ?? 0) <= until) row++;
    if (row < 0) continue;
    // Behind the last sample there is nothing but what has not been seen yet.
    if (row === times.length - 1 && until - (times[row] ?? 0) > msPerPixel + lastInterval(times)) break;
    for (let core = 0; core < cores.length; core++) {
      const value = cores[core]?.[row] ?? null;
      if (value !== null) pixels[core * width + x] = colors[Math.min(100, Math.max(0, Math.round(value)))] ?? 0;
    }
  }
}

/** How long the last sample may be taken to last. */
function lastInterval(times: ArrayLike<number>): number {
  return times.length < 2 ? 0 : (times[times.length - 1] ?? 0) - (times[times.length - 2] ?? 0);
}
