import type uPlot from "uplot";
import { describe, expect, it, vi } from "vitest";
import { chartOptions, type Palette, tickText, timeTickText, yRange } from "../../src/host/options.ts";
import type { ChartSpec, Unit } from "../../src/host/spec.ts";

const specOf = (unit: Unit, more: Partial<ChartSpec> = {}): ChartSpec => ({
  ...{ id: "x", title: "X", unit, kind: "lines", lines: [{ label: "a", color: 2, fill: true }] },
  ...more,
});
const paletteOf = (stroke: string): Palette => ({
  ...{ axis: "axis", grid: "grid", surface: "surface", font: "11px a" },
  ...{ strokes: ["s1", stroke], fills: ["f1", "f2"] },
});
const handlers = { onCursor: vi.fn(), onSelect: vi.fn(), onDoubleClick: vi.fn() };
const build = (spec: ChartSpec, palette = () => paletteOf("s2")) =>
  chartOptions(spec, { width: 400, height: 180 }, "group", palette, handlers);
const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("the y axis", () => {
  it("begins at zero and leaves room above the highest value, on a round number of the unit", () => {
    expect(yRange(specOf("percent"), 3, 37)).toEqual([0, 40]);
    expect(yRange(specOf("bytes"), 0, 900 * 1024 ** 2)).toEqual([0, 1024 ** 3]);
    for (const max of [0.3, 7, 99, 1234, 5e6, 7.7e11]) {
      const [, top] = yRange(specOf("load"), 0, max);
      expect(top).toBeGreaterThanOrEqual(max);
      expect(top).toBeLessThan(Math.max(1.2, max * 1.7));
    }
  });

  it("is not filled by the noise of an idle host", () => {
    expect(yRange(specOf("bytesPerSec"), 0, 3)[1]).toBeGreaterThanOrEqual(10 * 1024);
    expect(yRange(specOf("load"), null, null)).toEqual([0, 1]);
  });

  it("ends where the spec says", () => {
    expect(yRange(specOf("percent", { top: 100 }), 3, 37)).toEqual([0, 100]);
  });

  it("of temperatures need not begin at zero, and holds what is there", () => {
    expect(yRange(specOf("celsius"), 41, 55)).toEqual([30, 60]);
    expect(yRange(specOf("celsius"), -12, 97)).toEqual([-20, 100]);
  });

  it("of a heat strip is its cores", () => {
    expect(yRange(specOf("percent", { kind: "heat" }), 5, 90)).toEqual([0, 1]);
  });

  it("has short texts", () => {
    const cases: readonly (readonly [number, Unit, string])[] = [
      [25, "percent", "25 %"],
      [0, "bytes", "0"],
      [2 * 1024 ** 3, "bytes", "2 GiB"],
      [1.5 * 1024 ** 2, "bytesPerSec", "1.5 MiB/s"],
      [2.5, "load", "2.5"],
      [40, "celsius", "40 °C"],
    ];
    for (const [value, unit, text] of cases) expect(plain(tickText(value, unit))).toBe(text);
  });
});

describe("the x axis", () => {
  it("says minutes, seconds when it is close, and the day at midnight", () => {
    expect(timeTickText(new Date(2026, 10, 24, 9, 5, 30).getTime(), 60_000)).toBe("09:05");
    expect(timeTickText(new Date(2026, 10, 24, 9, 5, 30).getTime(), 10_000)).toBe("09:05:30");
    expect(timeTickText(new Date(2026, 10, 24).getTime(), 3_600_000)).toBe("24 Nov");
  });
});

describe("the options", () => {
  it("have a line for each of the spec's, in the colour that the theme has at that moment", () => {
    let stroke = "light";
    const { series } = build(specOf("percent"), () => paletteOf(stroke));
    expect(series).toHaveLength(2);
    const line = series[1] as { readonly stroke: () => string };
    const drawn = () => line.stroke();
    expect(drawn()).toBe("light");
    stroke = "dark";
    expect(drawn()).toBe("dark");
  });

  it("share the crosshair by time and leave zooming to the page", () => {
    const { cursor } = build(specOf("percent"));
    expect(cursor?.sync).toMatchObject({ key: "group", scales: ["x", null] });
    expect(cursor?.drag).toMatchObject({ x: true, y: false, setScale: false });
  });

  it("tell what was dragged out once, from the chart that it was dragged on", () => {
    const select = build(specOf("percent")).hooks?.setSelect?.[0];
    const plot = (event: object | undefined) => ({
      ...{ cursor: { event }, select: { left: 10, width: 20 }, setSelect: vi.fn() },
      posToVal: (left: number) => left * 100,
    });
    const dragged = plot({});
    const followed = plot(undefined);
    for (const one of [dragged, followed]) select?.(one as unknown as uPlot);
    expect(handlers.onSelect.mock.calls).toEqual([[1000, 3000]]);
    for (const one of [dragged, followed])
      expect(one.setSelect).toHaveBeenCalledWith({ left: 0, top: 0, width: 0, height: 0 }, false);
  });

  it("draw no lines for a heat strip", () => {
    const paths = build(specOf("percent", { kind: "heat" })).series[1]?.paths;
    expect((paths as () => unknown)()).toBeNull();
  });
});
