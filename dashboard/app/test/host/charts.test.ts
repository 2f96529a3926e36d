import { expect, it } from "vitest";
import { createHostBuffer, createUsageBuffer } from "../../src/history/series.ts";
import { CONTAINER_CHARTS, coreChart, hostCharts } from "../../src/host/charts.ts";

const SHAPE = { cores: 4, memoryTotalBytes: 8e9, hasSwap: true, sensors: ["cpu", "disk"] };

it("draws each line from a column of its own, without a copy", () => {
  const { series } = createHostBuffer("web-1", 15);
  for (const { spec, columns } of [...hostCharts(SHAPE), coreChart(4)]) {
    const drawn = columns(series);
    expect(drawn).toHaveLength(1 + spec.lines.length);
    expect(drawn[0]).toBe(series.t);
    expect(new Set(drawn.slice(1)).size).toBe(spec.lines.length);
  }
  expect(hostCharts(SHAPE)[0]?.columns(series)[1]).toBe(series.cpu);
});

it("leaves out what the host does not have", () => {
  const charts = hostCharts({ ...SHAPE, hasSwap: false, sensors: [] });
  expect(charts.map(({ spec }) => spec.id)).toEqual(["cpu", "memory", "network", "disk", "load"]);
  expect(charts[1]?.spec.lines.map(({ label }) => label)).toEqual(["used"]);
});

it("shows no more sensors than can be told apart", () => {
  const sensors = Array.from({ length: 40 }, (_, index) => `sensor ${index}`);
  const lines = hostCharts({ ...SHAPE, sensors }).at(-1)?.spec.lines ?? [];
  expect(lines).toHaveLength(8);
  expect(new Set(lines.map(({ color }) => color)).size).toBe(8);
});

it("of a container draws what it uses", () => {
  const { series } = createUsageBuffer("web-1", "ab".repeat(32), 15);
  for (const { spec, columns } of CONTAINER_CHARTS) expect(columns(series)).toHaveLength(1 + spec.lines.length);
});
