/** A host's and a container's history as columns for charts (table.ts), from messages and from `/history`. Pure. */

import type { ContainerColumns, History, HostMetrics, MetricsMessage, UsageMessage } from "@fleetcast/client";
import {
  type Appended,
  appendRow,
  type Column,
  columnOf,
  createTable,
  MINUTE_MS,
  mergeRows,
  type Table,
} from "./table.ts";

export type { Appended, Column } from "./table.ts";

/** Beyond, history has means of minutes. */
export const FULL_MINUTES = 15;
/** By how much of an id history knows containers. */
export const SHORT_ID = 12;

const HOST_COLUMNS = ["cpu", "load1", "memUsed", "memTotal", "swapUsed", "rx", "tx", "read", "write"] as const;
const USAGE_COLUMNS = ["cpu", "memory", "rx", "tx", "read", "write"] as const;

/**
 * One host. The object and its columns stay the same ones; `version` rises when they change. All columns are as long as
 * `t`; null is not known, and a row of nulls (`isGapRow`) is a gap.
 */
export interface HostSeries {
  readonly host: string;
  readonly minutes: number;
  readonly version: number;
  /** ms on Redis' clock, rising. Of a minute's mean: when it began. */
  readonly t: readonly number[];
  /** Percent of all cores. */
  readonly cpu: Column;
  readonly load1: Column;
  /** Bytes, and bytes a second over all interfaces or disks. */
  readonly memUsed: Column;
  readonly memTotal: Column;
  readonly swapUsed: Column;
  readonly rx: Column;
  readonly tx: Column;
  readonly read: Column;
  readonly write: Column;
  /** Percent, a column a core. */
  readonly perCore: readonly Column[];
  /** Percent used, by mount. */
  readonly disks: ReadonlyMap<string, Column>;
  /** Degrees Celsius, by sensor. */
  readonly temperatures: ReadonlyMap<string, Column>;
}

/** One container, as HostSeries. */
export interface UsageSeries {
  readonly host: string;
  readonly containerId: string;
  readonly minutes: number;
  readonly version: number;
  readonly t: readonly number[];
  /** 100 = one core. */
  readonly cpu: Column;
  /** Bytes, and bytes a second. */
  readonly memory: Column;
  readonly rx: Column;
  readonly tx: Column;
  readonly read: Column;
  readonly write: Column;
}

interface Growing<S> {
  readonly series: S;
  readonly table: Table;
}

export interface HostBuffer extends Growing<HostSeries> {
  readonly perCore: Column[];
  readonly disks: Map<string, Column>;
  readonly temperatures: Map<string, Column>;
}

export type UsageBuffer = Growing<UsageSeries>;

export function createHostBuffer(host: string, minutes: number): HostBuffer {
  const table = tableOf(minutes, HOST_COLUMNS);
  const perCore: Column[] = [];
  const disks = new Map<string, Column>();
  const temperatures = new Map<string, Column>();
  const series: HostSeries = {
    ...{ host, minutes, t: table.t, perCore, disks, temperatures },
    ...fixedColumns(table, HOST_COLUMNS),
    get version() {
      return table.version;
    },
  };
  return { series, table, perCore, disks, temperatures };
}

export function createUsageBuffer(host: string, containerId: string, minutes: number): UsageBuffer {
  const table = tableOf(minutes, USAGE_COLUMNS);
  const series: UsageSeries = {
    ...{ host, containerId, minutes, t: table.t },
    ...fixedColumns(table, USAGE_COLUMNS),
    get version() {
      return table.version;
    },
  };
  return { series, table };
}

export function appendMetrics(buffer: HostBuffer, message: MetricsMessage): Appended {
  const values = rowOf(message.data);
  const appended = appendRow(buffer.table, { t: message.sampledAt, epoch: message.epoch, values });
  nameColumns(buffer);
  return appended;
}

/** A message without this container is a row of nulls: it does not run. */
export function appendUsage(buffer: UsageBuffer, message: UsageMessage): Appended {
  const { data } = message;
  const index = data.ids.indexOf(buffer.series.containerId);
  const at = (column: readonly (number | null)[]) => (index < 0 ? null : (column[index] ?? null));
  const values = new Map<string, number | null>([
    ["cpu", at(data.cpuPercent)],
    ["memory", at(data.memoryBytes)],
    ["rx", at(data.rxBytesPerSec)],
    ["tx", at(data.txBytesPerSec)],
    ["read", at(data.readBytesPerSec)],
    ["write", at(data.writeBytesPerSec)],
  ]);
  return appendRow(buffer.table, { t: message.sampledAt, epoch: message.epoch, values });
}

export function mergeHostHistory(buffer: HostBuffer, history: History): void {
  const { metrics } = history;
  if (metrics === undefined || metrics === null) return;
  const columns = new Map<string, readonly (number | null)[]>([
    ["cpu", metrics.cpuPercent],
    ["load1", metrics.load1],
    ["memUsed", metrics.memoryUsedBytes],
    ["memTotal", metrics.memoryTotalBytes],
    ["swapUsed", metrics.swapUsedBytes],
    ["rx", metrics.rxBytesPerSec],
    ["tx", metrics.txBytesPerSec],
    ["read", metrics.readBytesPerSec],
    ["write", metrics.writeBytesPerSec],
    ...metrics.perCorePercent.map((column, core) => [`core ${core}`, column] as const),
    ...Object.entries(metrics.disks).map(([mount, column]) => [`disk ${mount}`, column] as const),
    ...Object.entries(metrics.temperatures).map(([sensor, column]) => [`sensor ${sensor}`, column] as const),
  ]);
  mergeRows(buffer.table, metrics.sampledAt, columns);
  nameColumns(buffer);
}

export function mergeUsageHistory(buffer: UsageBuffer, history: History): void {
  const { usage } = history;
  if (usage === undefined || usage === null) return;
  const found: ContainerColumns | undefined = usage.containers[buffer.series.containerId.slice(0, SHORT_ID)];
  const columns = new Map<string, readonly (number | null)[]>(
    found === undefined
      ? []
      : [
          ["cpu", found.cpuPercent],
          ["memory", found.memoryBytes],
          ["rx", found.rxBytesPerSec],
          ["tx", found.txBytesPerSec],
          ["read", found.readBytesPerSec],
          ["write", found.writeBytesPerSec],
        ],
  );
  mergeRows(buffer.table, usage.sampledAt, columns);
}

/** Over all interfaces; null where they could not be read. */
export function networkOf(data: HostMetrics): { readonly rx: number | null; readonly tx: number | null } {
  if (data.stale.includes("network")) return { rx: null, tx: null };
  let [rx, tx] = [0, 0];
  for (const one of data.network) {
    rx += one.rxBytesPerSec;
    tx += one.txBytesPerSec;
  }
  return { rx, tx };
}

/** A part that could not be read in time is not known: its last value is no measurement of this moment. */
function rowOf(data: HostMetrics): ReadonlyMap<string, number | null> {
  const stale = new Set(data.stale);
  const of = (part: string, value: number | undefined) => (stale.has(part) ? null : (value ?? null));
  const { rx, tx } = networkOf(data);
  const values = new Map<string, number | null>([
    ["cpu", of("cpu", data.cpu.percent)],
    ["load1", of("cpu", data.cpu.load[0])],
    ["memUsed", of("memory", data.memory.usedBytes)],
    ["memTotal", of("memory", data.memory.totalBytes)],
    ["swapUsed", of("swap", data.swap.usedBytes)],
    ["rx", rx],
    ["tx", tx],
    ["read", of("diskIo", data.diskIo.readBytesPerSec)],
    ["write", of("diskIo", data.diskIo.writeBytesPerSec)],
  ]);
  data.cpu.perCorePercent.forEach((percent, core) => {
    values.set(`core ${core}`, of("cpu", percent));
  });
  for (const disk of data.disks) values.set(`disk ${disk.mount}`, of("disks", disk.percent));
  for (const one of data.temperatures) values.set(`sensor ${one.sensor}`, of("temperatures", one.celsius));
  return values;
}

/** Columns that the table has got since are put where charts look for them. */
function nameColumns(buffer: HostBuffer): void {
  const { table, perCore, disks, temperatures } = buffer;
  if (table.columns.size === HOST_COLUMNS.length + perCore.length + disks.size + temperatures.size) return;
  for (const [name, column] of table.columns) {
    if (name.startsWith("core ")) perCore[Number(name.slice("core ".length))] = column;
    else if (name.startsWith("disk ")) disks.set(name.slice("disk ".length), column);
    else if (name.startsWith("sensor ")) temperatures.set(name.slice("sensor ".length), column);
  }
}

function tableOf(minutes: number, names: readonly string[]): Table {
  return createTable(minutes * MINUTE_MS, minutes <= FULL_MINUTES ? "sample" : "minute", names);
}

function fixedColumns<N extends string>(table: Table, names: readonly N[]): Readonly<Record<N, Column>> {
  return Object.fromEntries(names.map((name) => [name, columnOf(table, name) ?? []])) as unknown as Record<N, Column>;
}
