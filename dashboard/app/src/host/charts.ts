/** Which charts a host and a container have, and which columns each draws. Pure. */

import type { HostSeries, UsageSeries } from "../history/series.ts";
import type { ChartSpec, Columns, Line } from "./spec.ts";

export interface ChartOf<S> {
  readonly spec: ChartSpec;
  readonly columns: (series: S) => Columns;
}

/** What the charts of a host depend on, beside its numbers: as long as this is the same, so are they. */
export interface HostShape {
  readonly cores: number;
  readonly memoryTotalBytes: number;
  readonly hasSwap: boolean;
  readonly sensors: readonly string[];
}

/** More lines than this in one chart nobody can tell apart. */
const MOST_SENSORS = 8;

const IN_AND_OUT: readonly Line[] = [
  { label: "in", color: 2, fill: true },
  { label: "out", color: 5 },
];
const READ_AND_WRITE: readonly Line[] = [
  { label: "read", color: 2, fill: true },
  { label: "write", color: 3 },
];

export function coreChart(cores: number): ChartOf<HostSeries> {
  const lines = Array.from({ length: cores }, (_, core) => ({ label: `core ${core}`, color: 1 }));
  return {
    spec: { id: "cores", title: "CPU", unit: "percent", kind: "heat", lines },
    columns: ({ t, perCore }) => [t, ...Array.from({ length: cores }, (_, core) => perCore[core] ?? [])],
  };
}

export function hostCharts({ cores, memoryTotalBytes, hasSwap, sensors }: HostShape): readonly ChartOf<HostSeries>[] {
  const shown = sensors.slice(0, MOST_SENSORS);
  const memory: readonly Line[] = [
    { label: "used", color: 1, fill: true },
    ...(hasSwap ? [{ label: "swap", color: 3 }] : []),
  ];
  return [
    {
      spec: lines("cpu", "CPU", "percent", [{ label: "all cores", color: 1, fill: true }], 100),
      columns: ({ t, cpu }) => [t, cpu],
    },
    {
      spec: lines("memory", "Memory", "bytes", memory, memoryTotalBytes > 0 ? memoryTotalBytes : undefined),
      columns: ({ t, memUsed, swapUsed }) => (hasSwap ? [t, memUsed, swapUsed] : [t, memUsed]),
    },
    {
      spec: lines("network", "Network", "bytesPerSec", IN_AND_OUT),
      columns: ({ t, rx, tx }) => [t, rx, tx],
    },
    {
      spec: lines("disk", "Disk", "bytesPerSec", READ_AND_WRITE),
      columns: ({ t, read, write }) => [t, read, write],
    },
    {
      spec: lines("load", `Load (1 min, ${cores} ${cores === 1 ? "core" : "cores"})`, "load", [
        { label: "load", color: 4, fill: true },
      ]),
      columns: ({ t, load1 }) => [t, load1],
    },
    ...(shown.length === 0
      ? []
      : [
          {
            spec: lines("temperatures", "Temperature", "celsius", shown.map(sensorLine)),
            columns: ({ t, temperatures }: HostSeries): Columns => [
              t,
              ...shown.map((sensor) => temperatures.get(sensor) ?? []),
            ],
          },
        ]),
  ];
}

export const CONTAINER_CHARTS: readonly ChartOf<UsageSeries>[] = [
  {
    spec: lines("cpu", "CPU (100 % = one core)", "percent", [{ label: "used", color: 1, fill: true }]),
    columns: ({ t, cpu }) => [t, cpu],
  },
  {
    spec: lines("memory", "Memory", "bytes", [{ label: "used", color: 1, fill: true }]),
    columns: ({ t, memory }) => [t, memory],
  },
  {
    spec: lines("network", "Network", "bytesPerSec", IN_AND_OUT),
    columns: ({ t, rx, tx }) => [t, rx, tx],
  },
  {
    spec: lines("disk", "Disk", "bytesPerSec", READ_AND_WRITE),
    columns: ({ t, read, write }) => [t, read, write],
  },
];

function lines(id: string, title: string, unit: ChartSpec["unit"], of: readonly Line[], top?: number): ChartSpec {
  return { id, title, unit, kind: "lines", lines: of, ...(top === undefined ? {} : { top }) };
}

function sensorLine(sensor: string, index: number): Line {
  return { label: sensor, color: index + 1 };
}
