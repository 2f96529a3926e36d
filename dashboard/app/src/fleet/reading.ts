/** A sample in the few words that a tile has room for. Pure. */

import type { HostMetrics } from "@fleetcast/client";
import { bytes, bytesPerSec, duration, percent } from "../lib/format.ts";
import { fullestDisk } from "./condition.ts";

export interface Reading {
  readonly cpu: string;
  readonly memory: string;
  /** "10.1 GiB of 16 GiB" */
  readonly memoryBytes: string;
  readonly rx: string;
  readonly tx: string;
  /** Of the fullest one. */
  readonly diskMount: string;
  readonly diskPercent: number | null;
  readonly load: string;
  readonly uptime: string;
  /** Names of the parts that are not of now, as in `HostMetrics.stale`. */
  readonly stale: readonly string[];
}

export function readingOf(metrics: HostMetrics | null): Reading {
  if (metrics === null) return NOTHING;
  const disk = fullestDisk(metrics);
  let [rx, tx] = [0, 0];
  for (const one of metrics.network) {
    rx += one.rxBytesPerSec;
    tx += one.txBytesPerSec;
  }
  return {
    cpu: percent(metrics.cpu.percent),
    memory: percent(metrics.memory.percent),
    memoryBytes: `${bytes(metrics.memory.usedBytes)} of ${bytes(metrics.memory.totalBytes)}`,
    rx: bytesPerSec(rx),
    tx: bytesPerSec(tx),
    diskMount: disk?.mount ?? "",
    diskPercent: disk?.percent ?? null,
    load: loadOf(metrics.cpu.load[0]),
    uptime: shortDuration(metrics.uptimeSec * 1000),
    stale: metrics.stale,
  };
}

const NOTHING: Reading = {
  ...{ cpu: percent(null), memory: percent(null), memoryBytes: bytes(null), rx: bytes(null), tx: bytes(null) },
  ...{ diskMount: "", diskPercent: null, load: "–", uptime: duration(null), stale: [] },
};

/** Three digits at most, so that it keeps its width. */
function loadOf(load: number | undefined): string {
  if (load === undefined) return "–";
  return load.toFixed(load < 9.995 ? 2 : load < 99.95 ? 1 : 0);
}

/** The largest unit only: "3 d". */
function shortDuration(ms: number): string {
  return duration(ms).split(" ")[0] ?? "";
}
