/** A host's last 15 minutes in 60 points: means of 15 seconds. Pure; changed in place, and `version` rises. */

import type { MetricsColumns, MetricsMessage } from "@fleetcast/client";
import { networkOf } from "./series.ts";

export const POINTS = 60;
export const STEP_MS = 15_000;

/** POINTS values each, the newest last; NaN is not known. */
export interface Spark {
  readonly cpu: Float64Array;
  readonly memory: Float64Array;
  readonly network: Float64Array;
  /** Which step the last value is of, since the epoch; null before the first. */
  newest: number | null;
  /** Samples in the newest step. */
  samples: number;
  /** When `version` last rose for a sample, ms. */
  shownAt: number;
  version: number;
}

/** - `shown`: worth drawing again. - `kept`: not yet. - `missed`: steps are missing before it, which history may know. */
export type Extended = "shown" | "kept" | "missed";

/** A line of 15 minutes does not change visibly more often. */
const SHOW_EVERY_MS = 5_000;

export function createSpark(): Spark {
  const blank = () => new Float64Array(POINTS).fill(Number.NaN);
  return { cpu: blank(), memory: blank(), network: blank(), newest: null, samples: 0, shownAt: 0, version: 0 };
}

/** Takes a live sample. One of an older step is left out. */
export function extendSpark(spark: Spark, message: MetricsMessage): Extended {
  const step = Math.floor(message.sampledAt / STEP_MS);
  const isFirst = spark.newest === null;
  const steps = spark.newest === null ? POINTS : step - spark.newest;
  // A clock that steps back a step or two is waited for; one that steps back further begins anew.
  if (steps < 0 && steps > -3) return "kept";
  if (steps !== 0) shift(spark, steps < 0 ? POINTS : steps);
  spark.newest = step;
  spark.samples += 1;
  const { data } = message;
  const { rx, tx } = networkOf(data);
  const isKnown = (part: string) => data.stale.length === 0 || !data.stale.includes(part);
  blend(spark.cpu, spark.samples, isKnown("cpu") ? data.cpu.percent : null);
  blend(spark.memory, spark.samples, isKnown("memory") ? data.memory.percent : null);
  blend(spark.network, spark.samples, rx === null || tx === null ? null : rx + tx);
  const isDue = Math.abs(message.sampledAt - spark.shownAt) >= SHOW_EVERY_MS;
  if (isDue) {
    spark.shownAt = message.sampledAt;
    spark.version += 1;
  }
  if (!isFirst && steps > 2) return "missed";
  return isDue ? "shown" : "kept";
}

/** History's means where it has them; of the newest step what came live, if it did. */
export function fillSpark(spark: Spark, columns: MetricsColumns): void {
  const last = columns.sampledAt.at(-1);
  if (last === undefined) return;
  const newestOfHistory = Math.floor(last / STEP_MS);
  const newest = spark.newest ?? newestOfHistory;
  spark.newest = newest;
  const network = columns.rxBytesPerSec.map((rx, row) => sum(rx, columns.txBytesPerSec[row] ?? null));
  const memory = columns.memoryUsedBytes.map((used, row) => share(used, columns.memoryTotalBytes[row] ?? null));
  fill(spark.cpu, columns.sampledAt, columns.cpuPercent, newest);
  fill(spark.memory, columns.sampledAt, memory, newest);
  fill(spark.network, columns.sampledAt, network, newest);
  spark.version += 1;
}

function fill(into: Float64Array, t: readonly number[], values: readonly (number | null)[], newest: number): void {
  const sums = new Float64Array(POINTS);
  const counts = new Uint16Array(POINTS);
  t.forEach((at, row) => {
    const index = POINTS - 1 - (newest - Math.floor(at / STEP_MS));
    const value = values[row] ?? null;
    if (value === null || index < 0 || index >= POINTS) return;
    sums[index] = (sums[index] ?? 0) + value;
    counts[index] = (counts[index] ?? 0) + 1;
  });
  counts.forEach((count, index) => {
    const isLive = index === POINTS - 1 && !Number.isNaN(into[index]);
    if (count > 0 && !isLive) into[index] = (sums[index] ?? 0) / count;
  });
}

function shift(spark: Spark, steps: number): void {
  const by = Math.min(steps, POINTS);
  for (const values of [spark.cpu, spark.memory, spark.network]) {
    values.copyWithin(0, by);
    values.fill(Number.NaN, POINTS - by);
  }
  spark.samples = 0;
}

/** The last value becomes the mean of its step's samples so far. */
function blend(values: Float64Array, samples: number, value: number | null): void {
  if (value === null) return;
  const before = values[POINTS - 1] ?? Number.NaN;
  values[POINTS - 1] = Number.isNaN(before) ? value : before + (value - before) / samples;
}

function sum(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other;
}

function share(used: number | null, total: number | null): number | null {
  return used === null || total === null || total === 0 ? null : (used / total) * 100;
}
