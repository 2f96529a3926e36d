/** What a chart says in words: the values under the crosshair, and its summary for those who do not see it. Pure. */

import { bytes, bytesPerSec, percent } from "../lib/format.ts";
import type { ChartSpec, Columns, TimeWindow, Unit } from "./spec.ts";

/** A value with its unit; "–" for null. */
export function inUnit(value: number | null, unit: Unit): string {
  switch (unit) {
    case "percent":
      return percent(value, 1);
    case "bytes":
      return bytes(value);
    case "bytesPerSec":
      return bytesPerSec(value);
    case "load":
      return value === null ? "–" : value.toFixed(2);
    case "celsius":
      return value === null ? "–" : `${value.toFixed(0)} °C`;
  }
}

/** The index of the last time at or before `at`; -1 where there is none. */
export function indexBefore(times: ArrayLike<number>, at: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? Number.POSITIVE_INFINITY) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** One text for each entry of the legend: a line's value, or of a heat strip its busiest core. */
export function legendTexts(spec: ChartSpec, columns: Columns, index: number): readonly string[] {
  const values = columns.slice(1) as ArrayLike<number | null>[];
  if (spec.kind === "lines") return values.map((column) => inUnit(column[index] ?? null, spec.unit));
  const core = busiest(values, index);
  return [core === null ? "–" : `${spec.lines[core]?.label ?? ""} ${inUnit(values[core]?.[index] ?? null, spec.unit)}`];
}

/** The last row in which anything is known; -1 where there is none. */
export function lastKnown(columns: Columns): number {
  for (let index = columns[0].length - 1; index >= 0; index--)
    for (let line = 1; line < columns.length; line++) if ((columns[line]?.[index] ?? null) !== null) return index;
  return -1;
}

export interface Extent {
  readonly now: number | null;
  readonly min: number | null;
  readonly max: number | null;
}

/** Of one line within the window; `now` is its last value there. */
export function extent(times: ArrayLike<number>, values: ArrayLike<number | null>, window: TimeWindow): Extent {
  let now: number | null = null;
  let min: number | null = null;
  let max: number | null = null;
  const last = indexBefore(times, window.max);
  for (let index = indexBefore(times, window.min - 1) + 1; index <= last; index++) {
    const value = values[index] ?? null;
    if (value === null) continue;
    now = value;
    if (min === null || value < min) min = value;
    if (max === null || value > max) max = value;
  }
  return { now, min, max };
}

/** One sentence a line: "total: now 43 %, lowest 2 %, highest 98 %." */
export function summary(spec: ChartSpec, columns: Columns, window: TimeWindow): string {
  if (spec.kind === "heat") {
    const index = lastKnown(columns);
    return index < 0
      ? "No values."
      : `${spec.lines.length} cores; the busiest now: ${legendTexts(spec, columns, index)[0]}.`;
  }
  const sentences = spec.lines.flatMap((line, index) => {
    const { now, min, max } = extent(columns[0], columns[index + 1] ?? [], window);
    if (now === null) return [];
    const [nowText, minText, maxText] = [now, min, max].map((value) => inUnit(value, spec.unit));
    return [`${line.label}: now ${nowText}, lowest ${minText}, highest ${maxText}.`];
  });
  return sentences.length > 0 ? sentences.join(" ") : "No values.";
}

function busiest(cores: readonly ArrayLike<number | null>[], index: number): number | null {
  let found: number | null = null;
  let highest = Number.NEGATIVE_INFINITY;
  cores.forEach((column, core) => {
    const value = column[index] ?? null;
    if (value === null || value <= highest) return;
    found = core;
    highest = value;
  });
  return found;
}
