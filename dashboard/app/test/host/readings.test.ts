import { describe, expect, it } from "vitest";
import { extent, indexBefore, lastKnown, legendTexts, summary } from "../../src/host/readings.ts";
import type { ChartSpec, Columns } from "../../src/host/spec.ts";

const LINES: ChartSpec = {
  ...{ id: "network", title: "Network", unit: "bytesPerSec", kind: "lines" },
  lines: [
    { label: "in", color: 1 },
    { label: "out", color: 2 },
  ],
};
const CORES: ChartSpec = {
  ...{ id: "cores", title: "CPU", unit: "percent", kind: "heat" },
  lines: [
    { label: "core 0", color: 1 },
    { label: "core 1", color: 1 },
  ],
};
/** With a gap: a row of nulls. */
const COLUMNS: Columns = [
  [1000, 2000, 2000.5, 9000, 10_000],
  [10, 20, null, 5, null],
  [1, 2, null, 3, 4],
];
const plain = (text: string | undefined) => text?.replaceAll("\u202f", " ");

describe("readings", () => {
  it("finds the row at or before a time", () => {
    expect([999, 1000, 1999, 2000, 50_000].map((at) => indexBefore(COLUMNS[0], at))).toEqual([-1, 0, 0, 1, 4]);
    expect(indexBefore([], 5)).toBe(-1);
  });

  it("shows each line's value in its unit, and a dash where there is none", () => {
    expect(legendTexts(LINES, COLUMNS, 4).map(plain)).toEqual(["–", "4 B/s"]);
    expect(legendTexts(LINES, COLUMNS, 2)).toEqual(["–", "–"]);
    expect(legendTexts(LINES, COLUMNS, -1)).toEqual(["–", "–"]);
  });

  it("names the busiest core of a heat strip", () => {
    expect(legendTexts(CORES, COLUMNS, 1).map(plain)).toEqual(["core 0 20.0 %"]);
    expect(legendTexts(CORES, COLUMNS, 4).map(plain)).toEqual(["core 1 4.0 %"]);
    expect(legendTexts(CORES, COLUMNS, 2)).toEqual(["–"]);
  });

  it("knows the last row that says anything", () => {
    expect(lastKnown(COLUMNS)).toBe(4);
    expect(
      lastKnown([
        [1, 2],
        [7, null],
        [null, null],
      ]),
    ).toBe(0);
    expect(lastKnown([[], [], []])).toBe(-1);
  });

  it("takes now, lowest and highest from within the window only, over gaps", () => {
    const [times, values] = [COLUMNS[0], COLUMNS[1] ?? []];
    expect(extent(times, values, { min: 0, max: 20_000 })).toEqual({ now: 5, min: 5, max: 20 });
    expect(extent(times, values, { min: 1000, max: 2000 })).toEqual({ now: 20, min: 10, max: 20 });
    expect(extent(times, values, { min: 9500, max: 20_000 })).toEqual({ now: null, min: null, max: null });
  });

  it("sums a chart up in words, with only the lines that have values", () => {
    expect(plain(summary(LINES, COLUMNS, { min: 9500, max: 20_000 }))).toBe(
      "out: now 4 B/s, lowest 4 B/s, highest 4 B/s.",
    );
    expect(plain(summary(CORES, COLUMNS, { min: 0, max: 20_000 }))).toBe("2 cores; the busiest now: core 1 4.0 %.");
    expect(summary(LINES, [[], [], []], { min: 0, max: 1 })).toBe("No values.");
  });
});
