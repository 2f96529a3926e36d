import { describe, expect, it } from "vitest";
import { createSpark, extendSpark, fillSpark, POINTS, STEP_MS } from "../../src/history/spark.ts";
import { areaPath, linePath, strokesOf } from "../../src/history/strokes.ts";
import { columns, metrics, NOW } from "./messages.ts";

const begin = Math.ceil(NOW / STEP_MS) * STEP_MS;

describe("a spark", () => {
  it("has the mean of each 15 seconds, the newest last", () => {
    const spark = createSpark();
    for (const [second, cpu] of [
      [0, 10],
      [1, 20],
      [15, 40],
      [16, 50],
    ] as const) {
      extendSpark(spark, metrics(begin + second * 1000, cpu));
    }
    expect([...spark.cpu.slice(-3)]).toEqual([Number.NaN, 15, 45]);
    expect(spark.network.at(-1)).toBe(165);
    expect(spark.memory.at(-1)).toBe(40);
  });

  it("is worth drawing again every five seconds, not with every sample", () => {
    const spark = createSpark();
    const seconds = Array.from({ length: 30 }, (_, second) => second);
    const shown = seconds.filter((second) => extendSpark(spark, metrics(begin + second * 1000)) === "shown");
    expect(shown).toEqual([0, 5, 10, 15, 20, 25]);
    expect(spark.version).toBe(6);
  });

  it("has gaps where nothing came, and says that history may know", () => {
    const spark = createSpark();
    extendSpark(spark, metrics(begin, 10));
    expect(extendSpark(spark, metrics(begin + 4 * STEP_MS, 20))).toBe("missed");
    expect([...spark.cpu.slice(-5)]).toEqual([10, Number.NaN, Number.NaN, Number.NaN, 20]);
  });

  it("forgets what is older than 15 minutes", () => {
    const spark = createSpark();
    extendSpark(spark, metrics(begin, 10));
    extendSpark(spark, metrics(begin + POINTS * STEP_MS, 20));
    expect([...spark.cpu].filter((value) => !Number.isNaN(value))).toEqual([20]);
  });

  it("takes history's means, and keeps what came live in the newest step", () => {
    const spark = createSpark();
    extendSpark(spark, metrics(begin + 2 * STEP_MS, 99));
    const t = [begin, begin + 7500, begin + STEP_MS, begin + 2 * STEP_MS];
    fillSpark(spark, columns(t, [10, 20, null, 1]));
    expect([...spark.cpu.slice(-3)]).toEqual([15, Number.NaN, 99]);
    expect([...spark.memory.slice(-3)]).toEqual([40, 40, 40]);
  });

  it("fills up from history alone where nothing came live", () => {
    const spark = createSpark();
    const t = Array.from({ length: POINTS }, (_, step) => begin + step * STEP_MS);
    fillSpark(
      spark,
      columns(
        t,
        t.map((_, step) => step),
      ),
    );
    expect([...spark.cpu]).toEqual(t.map((_, step) => step));
  });
});

describe("the strokes of a sparkline", () => {
  const scale = { width: 90, height: 12, max: 100 };

  it("are broken where values are missing", () => {
    const strokes = strokesOf([0, 100, null, 50, Number.NaN, 50], scale);
    expect(strokes.map((stroke) => stroke.length)).toEqual([2, 1, 1]);
    expect(strokes[0]).toEqual([
      [0, 11],
      [18, 1],
    ]);
  });

  it("show a lone sample, and stay inside whatever the values are", () => {
    const strokes = strokesOf([null, 500, null, -3], scale);
    expect(linePath(strokes)).toBe("M30 1h1M90 11h1");
    expect(areaPath(strokes, 12)).toBe("");
  });

  it("use the largest value as the top where none is given, and draw zeros at the bottom", () => {
    expect(strokesOf([5, 10], { ...scale, max: null })[0]).toEqual([
      [0, 6],
      [90, 1],
    ]);
    expect(strokesOf([0, 0], { ...scale, max: null })[0]).toEqual([
      [0, 11],
      [90, 11],
    ]);
  });
});
