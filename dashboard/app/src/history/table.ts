/**
 * Columns of numbers by time: what charts draw. Bounded, in order, no two rows of the same time.
 *
 * A gap in the data is a row of its own, all null, half a millisecond after the sample before it: samples have whole
 * milliseconds. Columns are changed in place, and `version` rises with each change, so that a chart holds on to them.
 */

import { gaps, isGap, usualMs } from "./gaps.ts";

export type Column = (number | null)[];

/** - `sample`: a row a sample. - `minute`: a row a minute, its mean, and the samples of the minute that runs. */
export type Grain = "sample" | "minute";

export interface Table {
  readonly spanMs: number;
  readonly grain: Grain;
  /** Rows; the oldest go first, and the table spans less time then. */
  readonly capacity: number;
  version: number;
  readonly t: number[];
  readonly columns: Map<string, Column>;
  /** The newest sample that came live. */
  live: { readonly t: number; readonly epoch: number } | null;
}

export interface Row {
  readonly t: number;
  readonly epoch: number;
  readonly values: ReadonlyMap<string, number | null>;
}

/** - `gap`: added, and something is missing before it. - `ignored`: it was there, or is older than what is. */
export type Appended = "added" | "gap" | "ignored";

export const MINUTE_MS = 60_000;
const FULL_CAPACITY = 1_000;
const MINUTE_CAPACITY = 2_000;
/** Names beyond are left out: no host has so many cores, disks and sensors. */
const MOST_COLUMNS = 2_048;
/** Rows are cut off the front so many milliseconds late, many at a time. */
const TRIM_EVERY_MS = 30_000;
/** Intervals that the usual one is made of. */
const INTERVALS = 5;

export function createTable(spanMs: number, grain: Grain, names: readonly string[]): Table {
  const capacity = grain === "sample" ? FULL_CAPACITY : MINUTE_CAPACITY;
  return { spanMs, grain, capacity, version: 0, t: [], columns: new Map(names.map((name) => [name, []])), live: null };
}

/** The column of this name, made where there is none; null where the table holds no more. */
export function columnOf(table: Table, name: string): Column | null {
  const found = table.columns.get(name);
  if (found !== undefined || table.columns.size >= MOST_COLUMNS) return found ?? null;
  const column: Column = new Array<number | null>(table.t.length).fill(null);
  table.columns.set(name, column);
  return column;
}

export function appendRow(table: Table, row: Row): Appended {
  const newest = lastSample(table);
  const { live } = table;
  if (newest !== null && row.t <= newest) {
    // A message that is newer than the last one, sampled earlier: the clock has stepped back, and what it said is void.
    if (live === null || row.t >= live.t) return "ignored";
    truncate(table, firstAtOrAfter(table.t, row.t));
  }
  const before = lastSample(table);
  const sameRun = live === null || live.epoch === row.epoch;
  const missed = before !== null && isGap(row.t - before, usualMs(lastIntervals(table)), sameRun);
  if (table.grain === "minute" && before !== null && minuteOf(row.t) > minuteOf(before)) foldLastMinute(table);
  if (missed) pushGap(table);
  push(table, row.t, row.values);
  table.live = { t: row.t, epoch: row.epoch };
  trim(table);
  table.version += 1;
  return missed ? "gap" : "added";
}

/** History joins what came live meanwhile: the union, and of the same time the live one. */
export function mergeRows(
  table: Table,
  t: readonly number[],
  columns: ReadonlyMap<string, readonly (number | null)[]>,
) {
  const own = { t: [...table.t], columns: new Map([...table.columns].map(([name, values]) => [name, [...values]])) };
  for (const name of columns.keys()) columnOf(table, name);
  truncate(table, 0);
  const order = unionOf(t, own.t, table);
  const missing = gaps(order.map((one) => one.t));
  order.forEach((one, index) => {
    if (missing.has(index)) pushGap(table);
    table.t.push(one.t);
    const from = one.own ? own.columns : columns;
    for (const [name, column] of table.columns) column.push(from.get(name)?.[one.index] ?? null);
  });
  trim(table);
  table.version += 1;
}

export function isGapRow(t: number): boolean {
  return !Number.isInteger(t);
}

interface Source {
  readonly t: number;
  readonly own: boolean;
  readonly index: number;
}

function unionOf(history: readonly number[], own: readonly number[], table: Table): readonly Source[] {
  const rows = new Map<number, Source>();
  const newest = history.at(-1) ?? Number.NEGATIVE_INFINITY;
  history.forEach((t, index) => {
    rows.set(t, { t, own: false, index });
  });
  own.forEach((t, index) => {
    // Of the minutes that history has the means of, its word is enough.
    const covered = table.grain === "minute" && rows.size > 0 && minuteOf(t) < minuteOf(newest);
    if (!isGapRow(t) && !covered) rows.set(t, { t, own: true, index });
  });
  return [...rows.values()].sort((a, b) => a.t - b.t);
}

function push(table: Table, t: number, values: ReadonlyMap<string, number | null>): void {
  for (const name of values.keys()) columnOf(table, name);
  table.t.push(t);
  for (const [name, column] of table.columns) column.push(values.get(name) ?? null);
}

function pushGap(table: Table): void {
  const before = table.t.at(-1);
  if (before === undefined || isGapRow(before)) return;
  table.t.push(before + 0.5);
  for (const column of table.columns.values()) column.push(null);
}

/** The samples of the minute that the last one belongs to become their mean, at its beginning. */
function foldLastMinute(table: Table): void {
  const newest = lastSample(table);
  if (newest === null) return;
  const begins = minuteOf(newest) * MINUTE_MS;
  const from = firstAtOrAfter(table.t, begins);
  const means = new Map([...table.columns].map(([name, column]) => [name, mean(column, from)]));
  truncate(table, from);
  push(table, begins, means);
}

function mean(column: Column, from: number): number | null {
  let sum = 0;
  let count = 0;
  for (let index = from; index < column.length; index += 1) {
    const value = column[index];
    if (value === null || value === undefined) continue;
    sum += value;
    count += 1;
  }
  return count === 0 ? null : sum / count;
}

function trim(table: Table): void {
  const { t } = table;
  const newest = t.at(-1) ?? 0;
  const tooMany = Math.max(0, t.length - table.capacity);
  const tooOld = (t[0] ?? 0) < newest - table.spanMs - TRIM_EVERY_MS ? firstAtOrAfter(t, newest - table.spanMs) : 0;
  const cut = Math.max(tooMany, tooOld);
  if (cut === 0) return;
  t.splice(0, cut);
  for (const column of table.columns.values()) column.splice(0, cut);
}

function truncate(table: Table, length: number): void {
  table.t.length = length;
  for (const column of table.columns.values()) column.length = length;
}

function lastSample(table: Table): number | null {
  const last = table.t.at(-1);
  if (last === undefined || !isGapRow(last)) return last ?? null;
  return table.t.at(-2) ?? null;
}

function lastIntervals(table: Table): readonly number[] {
  const found: number[] = [];
  for (let index = table.t.length - 1; index > 0 && found.length < INTERVALS; index -= 1) {
    const [before, after] = [table.t[index - 1] ?? 0, table.t[index] ?? 0];
    if (!isGapRow(before) && !isGapRow(after)) found.push(after - before);
  }
  return found;
}

function firstAtOrAfter(t: readonly number[], at: number): number {
  let low = 0;
  let high = t.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((t[middle] ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

function minuteOf(t: number): number {
  return Math.floor(t / MINUTE_MS);
}
