import { expect, it } from "vitest";
import { heatColors, paintHeat } from "../../src/host/heat.ts";
import type { Columns } from "../../src/host/spec.ts";

const COLORS = heatColors([0, 0, 0], [0, 0, 200], [250, 100, 0]);
const window = { min: 0, max: 10_000 };

function paint(columns: Columns, width = 10): readonly (readonly number[])[] {
  const pixels = new Uint32Array(width * (columns.length - 1)).fill(7);
  paintHeat(pixels, width, columns, window, COLORS);
  return Array.from({ length: columns.length - 1 }, (_, core) =>
    [...pixels.slice(core * width, (core + 1) * width)].map((pixel) => (pixel === 0 ? -1 : COLORS.indexOf(pixel))),
  );
}

it("goes from cold over warm to hot, opaque", () => {
  expect(COLORS).toHaveLength(101);
  expect(COLORS[0]).toBe(0xff000000);
  expect(COLORS[60]).toBe(0xffc80000);
  expect(COLORS[100]).toBe(0xff0064fa);
});

it("paints a row a core, each sample until the next, and leaves a gap open", () => {
  const columns: Columns = [
    [0, 2000, 4000, 4000.5, 8000],
    [10, 20, 30, null, 50],
    [100, null, 0, null, 90],
  ];
  expect(paint(columns)).toEqual([
    [10, 20, 20, 30, -1, -1, -1, 50, 50, 50],
    [100, -1, -1, 0, -1, -1, -1, 90, 90, 90],
  ]);
});

it("paints nothing before the first sample, nor long after the last one", () => {
  const [row] = paint([
    [3000, 3500],
    [40, 40],
  ]);
  expect(row).toEqual([-1, -1, 40, 40, 40, -1, -1, -1, -1, -1]);
});

it("holds what is above 100 percent at the hottest, and paints nothing of nothing", () => {
  expect(paint([[0], [250]], 1)).toEqual([[100]]);
  expect(paint([[], []], 3)).toEqual([[-1, -1, -1]]);
});
