/** How uPlot draws a chart: options made from a spec and a palette. Pure; the palette is asked at each draw. */

import type uPlot from "uplot";
import { bytes, bytesPerSec } from "../lib/format.ts";
import type { ChartSpec, Unit } from "./spec.ts";

export interface Palette {
  readonly axis: string;
  readonly grid: string;
  readonly surface: string;
  /** By `Line.color`, from 1. */
  readonly strokes: readonly string[];
  readonly fills: readonly string[];
  readonly font: string;
}

export interface Handlers {
  /** The row under the crosshair; null where it is nowhere. */
  readonly onCursor: (index: number | null) => void;
  /** Dragged out on this chart, in ms. */
  readonly onSelect: (from: number, to: number) => void;
  readonly onDoubleClick: () => void;
}

/** The same for all units: charts above each other have the same time at the same place. */
const Y_AXIS_WIDTH = 62;
const X_AXIS_HEIGHT = 26;
const DECIMAL = steps(10, [1, 2, 2.5, 5], -3, 15);
const BINARY = [...[1, 2, 5, 10, 20, 50, 100, 200, 500], ...steps(1024, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512], 1, 6)];

export function chartOptions(
  spec: ChartSpec,
  size: { readonly width: number; readonly height: number },
  sync: string,
  palette: () => Palette,
  handlers: Handlers,
): uPlot.Options {
  const heat = spec.kind === "heat";
  return {
    ...size,
    ms: 1,
    padding: [6, 12, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true, range: (_plot, min, max) => [min, max] },
      y: { range: (_plot, min, max) => yRange(spec, min, max) },
    },
    axes: [xAxis(palette), heat ? coreAxis(spec, palette) : yAxis(spec.unit, palette)],
    series: [{}, ...spec.lines.map((line) => (heat ? hiddenSeries() : lineSeries(line.color, line.fill, palette)))],
    cursor: {
      y: false,
      points: heat ? { show: false } : { size: 7, width: 1.5, stroke: () => palette().surface },
      drag: { x: true, y: false, setScale: false, dist: 4 },
      sync: { key: sync, scales: ["x", null], setSeries: false },
      bind: {
        dblclick: () => () => {
          handlers.onDoubleClick();
          return null;
        },
      },
    },
    hooks: {
      setCursor: [(plot) => handlers.onCursor(plot.cursor.idx ?? null)],
      setSelect: [(plot) => select(plot, handlers)],
    },
  };
}

/** The y axis begins at zero but for temperatures, and ends where the values have room. */
export function yRange(spec: ChartSpec, min: number | null, max: number | null): [number, number] {
  if (spec.kind === "heat") return [0, Math.max(1, spec.lines.length)];
  if (spec.unit === "celsius") {
    if (min === null || max === null) return [0, 100];
    return [Math.min(30, Math.floor((min - 2) / 10) * 10), Math.max(60, Math.ceil((max + 2) / 10) * 10)];
  }
  return [0, spec.top ?? roundUp(max ?? 0, spec.unit)];
}

/** A little above `max`, on a round number of the unit; never 0, or an idle line would fill the chart with noise. */
function roundUp(max: number, unit: Unit): number {
  const least = { percent: 5, bytes: 1024 ** 2, bytesPerSec: 10 * 1024, load: 1, celsius: 60 }[unit];
  const wanted = Math.max(max * 1.08, least);
  return tickSteps(unit).find((step) => step * 4 >= wanted) === undefined ? wanted : ceilTo(wanted, unit);
}

function ceilTo(wanted: number, unit: Unit): number {
  const step = tickSteps(unit).find((one) => one * 4 >= wanted) ?? wanted;
  return Math.ceil(wanted / step) * step;
}

function tickSteps(unit: Unit): readonly number[] {
  return unit === "bytes" || unit === "bytesPerSec" ? BINARY : DECIMAL;
}

/** Tick texts are short: no decimals that say nothing. */
export function tickText(value: number, unit: Unit): string {
  switch (unit) {
    case "percent":
      return `${trimmed(value)} %`;
    case "bytes":
      return value === 0 ? "0" : short(bytes(value));
    case "bytesPerSec":
      return value === 0 ? "0" : short(bytesPerSec(value));
    case "load":
      return trimmed(value);
    case "celsius":
      return `${trimmed(value)} °C`;
  }
}

/** "14:05", with seconds where the ticks are closer than a minute; the date at midnight. On this machine's clock. */
export function timeTickText(at: number, stepMs: number): string {
  const date = new Date(at);
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()];
  if (stepMs >= 60_000 && hours === 0 && minutes === 0)
    return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const text = `${pad(hours)}:${pad(minutes)}`;
  return stepMs < 60_000 ? `${text}:${pad(seconds)}` : text;
}

function select(plot: uPlot, handlers: Handlers): void {
  const { left, width } = plot.select;
  // The others of the group follow the drag without an event: only the one that was dragged on speaks.
  if (plot.cursor.event && width > 0) handlers.onSelect(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

function lineSeries(color: number, fill: boolean | undefined, palette: () => Palette): uPlot.Series {
  const stroke = () => palette().strokes[color - 1] ?? palette().axis;
  return {
    stroke,
    width: 1.5,
    points: { show: false },
    ...(fill ? { fill: () => palette().fills[color - 1] ?? "transparent" } : {}),
  };
}

function hiddenSeries(): uPlot.Series {
  return { paths: () => null, points: { show: false } };
}

function axisStyle(palette: () => Palette): uPlot.Axis {
  return {
    stroke: () => palette().axis,
    // uPlot takes a font as text alone: that of the first draw stays, and it is the same in both themes.
    font: palette().font,
    grid: { stroke: () => palette().grid, width: 1 },
    ticks: { show: false },
    gap: 6,
  };
}

function xAxis(palette: () => Palette): uPlot.Axis {
  return {
    ...axisStyle(palette),
    size: X_AXIS_HEIGHT,
    space: 76,
    values: (_plot, ticks, _axis, _space, stepMs) => ticks.map((at) => timeTickText(at, stepMs)),
  };
}

function yAxis(unit: Unit, palette: () => Palette): uPlot.Axis {
  return {
    ...axisStyle(palette),
    size: Y_AXIS_WIDTH,
    space: 34,
    incrs: [...tickSteps(unit)],
    values: (_plot, ticks) => ticks.map((value) => tickText(value, unit)),
  };
}

function coreAxis(spec: ChartSpec, palette: () => Palette): uPlot.Axis {
  return {
    ...axisStyle(palette),
    size: Y_AXIS_WIDTH,
    space: 24,
    incrs: [1, 2, 4, 8, 16, 32],
    grid: { show: false },
    // Core 0 is at the top: a strip's name stands at its lower edge's height, `cores - value`.
    values: (_plot, ticks) => ticks.map((value) => (value < 1 ? "" : `${spec.lines.length - value}`)),
  };
}

function steps(base: number, multiples: readonly number[], from: number, to: number): readonly number[] {
  const found: number[] = [];
  for (let power = from; power < to; power++)
    for (const multiple of multiples) found.push(Number((multiple * base ** power).toPrecision(12)));
  return found;
}

function trimmed(value: number): string {
  return String(Number(value.toFixed(2)));
}

function short(text: string): string {
  return text.replace(/\.0+(?=\s|$)/, "");
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
