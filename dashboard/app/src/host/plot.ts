/**
 * uPlot with what it does not bring: it fills its box, follows the theme, and keeps a crosshair that the keyboard has
 * set. The one place that imports it.
 */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { followCrosshair, heldCrosshair, releaseCrosshair } from "./crosshair.ts";
import { heatColors, paintHeat, type Rgb } from "./heat.ts";
import { chartOptions, type Palette } from "./options.ts";
import type { ChartSpec, Columns, TimeWindow } from "./spec.ts";

export interface Plot {
  /** Takes the columns as they are, without a copy, and draws them within the window. */
  draw(columns: Columns, window: TimeWindow): void;
  destroy(): void;
}

export interface PlotEvents {
  readonly onCursor: (index: number | null) => void;
  readonly onSelect: (from: number, to: number) => void;
  readonly onDoubleClick: () => void;
}

const SERIES_COLORS = 8;
const FILL_ALPHA = 0.13;

export function createPlot(box: HTMLElement, spec: ChartSpec, group: string, events: PlotEvents): Plot {
  let palette = readPalette(box);
  const heat = spec.kind === "heat" ? createHeat(box, spec.lines.length) : null;
  const options = chartOptions(spec, sizeOf(box), group, () => palette, events);
  if (heat) options.hooks = { ...options.hooks, draw: [heat.draw] };
  const plot = new uPlot(options, emptyData(spec), box);

  const repaint = () => {
    palette = readPalette(box);
    heat?.readColors();
    plot.redraw(false);
  };
  const release = () => releaseCrosshair(group);
  const unfollow = followCrosshair(group, (at) => point(plot, at));
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const resize = new ResizeObserver(() => {
    const size = sizeOf(box);
    if (size.width !== plot.width || size.height !== plot.height) plot.setSize(size);
  });
  theme.addEventListener("change", repaint);
  plot.over.addEventListener("mousemove", release);
  resize.observe(box);

  return {
    draw: (columns, window) => {
      plot.batch(() => {
        plot.setData(columns as unknown as uPlot.AlignedData, false);
        plot.setScale("x", { ...window });
      });
      const at = heldCrosshair(group);
      if (at !== null) point(plot, at);
    },
    destroy: () => {
      unfollow();
      theme.removeEventListener("change", repaint);
      resize.disconnect();
      plot.destroy();
    },
  };
}

function point(plot: uPlot, at: number | null): void {
  if (at === null) plot.setCursor({ left: -10, top: -10 });
  else plot.setCursor({ left: plot.valToPos(at, "x"), top: plot.over.clientHeight / 2 });
}

function emptyData(spec: ChartSpec): uPlot.AlignedData {
  return [[], ...spec.lines.map(() => [])];
}

function sizeOf(box: HTMLElement): { width: number; height: number } {
  return { width: Math.max(80, box.clientWidth), height: Math.max(60, box.clientHeight) };
}

function readPalette(box: HTMLElement): Palette {
  const style = getComputedStyle(box);
  const token = (name: string) => style.getPropertyValue(name).trim();
  const strokes = Array.from({ length: SERIES_COLORS }, (_, index) => token(`--series-${index + 1}`));
  return {
    axis: token("--chart-axis"),
    grid: token("--chart-grid"),
    surface: token("--surface"),
    strokes,
    fills: strokes.map((color) => `rgb(${toRgb(color).join(" ")} / ${FILL_ALPHA})`),
    font: `11px ${style.fontFamily}`,
  };
}

/** Any colour that CSS knows, through one pixel of a canvas. */
function toRgb(color: string): Rgb {
  const context = createContext(1, 1);
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [red = 0, green = 0, blue = 0] = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue];
}

function createContext(width: number, height: number): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this browser has no 2D canvas");
  return context;
}

/** Draws the strips pixel by pixel beside the canvas, then stretches them onto it. */
function createHeat(box: HTMLElement, cores: number) {
  let colors = readHeatColors(box);
  let image: { readonly context: CanvasRenderingContext2D; readonly data: ImageData } | null = null;

  const draw = (plot: uPlot) => {
    const { left, top, width, height } = plot.bbox;
    const { min, max } = plot.scales["x"] ?? {};
    const columnsWide = Math.floor(width);
    if (columnsWide < 1 || min === undefined || max === undefined) return;
    if (image?.data.width !== columnsWide) {
      const context = createContext(columnsWide, cores);
      image = { context, data: context.createImageData(columnsWide, cores) };
    }
    const pixels = new Uint32Array(image.data.data.buffer);
    paintHeat(pixels, columnsWide, plot.data as unknown as Columns, { min, max }, colors);
    image.context.putImageData(image.data, 0, 0);
    plot.ctx.save();
    plot.ctx.imageSmoothingEnabled = false;
    plot.ctx.drawImage(image.context.canvas, left, top, width, height);
    plot.ctx.restore();
  };
  const readColors = () => {
    colors = readHeatColors(box);
  };
  return { draw, readColors };
}

function readHeatColors(box: HTMLElement): Uint32Array {
  const style = getComputedStyle(box);
  const [cold, warm, hot] = ["--sunk", "--series-1", "--warn-fill"].map((name) => toRgb(style.getPropertyValue(name)));
  return heatColors(cold ?? [0, 0, 0], warm ?? [0, 0, 0], hot ?? [0, 0, 0]);
}
