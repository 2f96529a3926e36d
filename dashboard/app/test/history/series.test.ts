import { describe, expect, it } from "vitest";
import {
  appendMetrics,
  appendUsage,
  createHostBuffer,
  createUsageBuffer,
  mergeHostHistory,
  mergeUsageHistory,
} from "../../src/history/series.ts";
import { isGapRow } from "../../src/history/table.ts";
import { columns, hostMetrics, metrics, NOW, usage } from "./messages.ts";

const S = 1000;
const MINUTE = 60 * S;

function history(sampledAt: readonly number[], cpu: readonly (number | null)[], minutes = 15) {
  return { host: "web-1", minutes, metrics: columns(sampledAt, cpu) };
}

describe("a host's series", () => {
  it("keeps its columns the same objects and raises its version with each sample", () => {
    const buffer = createHostBuffer("web-1", 15);
    const { cpu } = buffer.series;
    appendMetrics(buffer, metrics(NOW, 10));
    const { version } = buffer.series;
    appendMetrics(buffer, metrics(NOW + S, 20));
    expect(buffer.series.cpu).toBe(cpu);
    expect(buffer.series.version).toBeGreaterThan(version);
    expect(buffer.series.t).toEqual([NOW, NOW + S]);
    expect(cpu).toEqual([10, 20]);
    expect(buffer.series.perCore).toEqual([
      [10, 20],
      [10, 20],
    ]);
    expect(buffer.series.rx).toEqual([150, 150]);
    expect(buffer.series.disks.get("/")).toEqual([50, 50]);
  });

  it("takes a sample once", () => {
    const buffer = createHostBuffer("web-1", 15);
    expect(appendMetrics(buffer, metrics(NOW))).toBe("added");
    expect(appendMetrics(buffer, metrics(NOW))).toBe("ignored");
    expect(buffer.series.t).toEqual([NOW]);
  });

  it("has no value of a part that could not be read in time", () => {
    const buffer = createHostBuffer("web-1", 15);
    appendMetrics(buffer, metrics(NOW, 10, { data: hostMetrics({ stale: ["network", "disks"] }) }));
    expect(buffer.series.rx).toEqual([null]);
    expect(buffer.series.disks.get("/")).toEqual([null]);
    expect(buffer.series.cpu).toEqual([10]);
  });

  it("fills a core and a disk that come later with nulls before", () => {
    const buffer = createHostBuffer("web-1", 15);
    appendMetrics(buffer, metrics(NOW));
    const cpu = { percent: 1, perCorePercent: [1, 2, 3], cores: 3, load: [0, 0, 0] };
    const disks = [{ mount: "/data", totalBytes: 1, usedBytes: 1, percent: 9 }];
    appendMetrics(buffer, metrics(NOW + S, 1, { data: hostMetrics({ cpu, disks }) }));
    expect(buffer.series.perCore[2]).toEqual([null, 3]);
    expect(buffer.series.disks.get("/data")).toEqual([null, 9]);
    expect(buffer.series.disks.get("/")).toEqual([50, null]);
  });

  it("stands a row of nulls where samples are missing", () => {
    const buffer = createHostBuffer("web-1", 15);
    for (let second = 0; second < 5; second += 1) appendMetrics(buffer, metrics(NOW + second * S));
    expect(appendMetrics(buffer, metrics(NOW + 20 * S))).toBe("gap");
    expect(buffer.series.cpu).toEqual([10, 10, 10, 10, 10, null, 10]);
    expect(buffer.series.t.filter(isGapRow)).toHaveLength(1);
    expect([...buffer.series.t].sort((a, b) => a - b)).toEqual(buffer.series.t);
  });

  it("takes a shorter absence for a gap where a collector has begun anew", () => {
    const append = (epoch: number) => {
      const buffer = createHostBuffer("web-1", 15);
      for (let second = 0; second < 5; second += 1) appendMetrics(buffer, metrics(NOW + second * S));
      return appendMetrics(buffer, metrics(NOW + 6 * S, 10, { epoch }));
    };
    expect(append(1)).toBe("added");
    expect(append(2)).toBe("gap");
  });

  it("holds 15 minutes, and never more than 1000 rows however fast they come", () => {
    const buffer = createHostBuffer("web-1", 15);
    for (let half = 0; half < 4000; half += 1) appendMetrics(buffer, metrics(NOW + half * 500));
    expect(buffer.series.t.length).toBeLessThanOrEqual(1000);
    expect(buffer.series.cpu).toHaveLength(buffer.series.t.length);
    expect(buffer.series.t.at(-1)).toBe(NOW + 3999 * 500);
    const slow = createHostBuffer("web-1", 15);
    for (let second = 0; second < 3000; second += 1) appendMetrics(slow, metrics(NOW + second * S));
    const span = (slow.series.t.at(-1) ?? 0) - (slow.series.t[0] ?? 0);
    expect(span).toBeGreaterThanOrEqual(15 * MINUTE);
    expect(span).toBeLessThanOrEqual(16 * MINUTE);
  });

  it("joins history and what came live meanwhile, each time once and in order", () => {
    const buffer = createHostBuffer("web-1", 15);
    appendMetrics(buffer, metrics(NOW + 2 * S, 33));
    appendMetrics(buffer, metrics(NOW + 3 * S, 44));
    mergeHostHistory(buffer, history([NOW, NOW + S, NOW + 2 * S], [1, 2, 3]));
    expect(buffer.series.t).toEqual([NOW, NOW + S, NOW + 2 * S, NOW + 3 * S]);
    expect(buffer.series.cpu).toEqual([1, 2, 33, 44]);
    mergeHostHistory(buffer, history([NOW, NOW + S, NOW + 2 * S], [1, 2, 3]));
    expect(buffer.series.cpu).toEqual([1, 2, 33, 44]);
  });

  it("closes a gap that only this page had once history knows better", () => {
    const buffer = createHostBuffer("web-1", 15);
    const at = (second: number) => NOW + second * S;
    for (const second of [0, 1, 2, 3, 23, 24]) appendMetrics(buffer, metrics(at(second)));
    expect(buffer.series.cpu).toContain(null);
    const seconds = Array.from({ length: 24 }, (_, second) => second);
    mergeHostHistory(
      buffer,
      history(
        seconds.map(at),
        seconds.map(() => 10),
      ),
    );
    expect(buffer.series.cpu).not.toContain(null);
    expect(buffer.series.t).toEqual([...seconds, 24].map(at));
  });

  it("shows no gap where somebody has looked twice, and nobody in between", () => {
    const buffer = createHostBuffer("web-1", 15);
    for (const second of [0, 1, 2, 12, 21.5, 22, 23, 24]) appendMetrics(buffer, metrics(NOW + second * S));
    expect(buffer.series.cpu).not.toContain(null);
  });

  it("shows the gaps that history has, and the idle pace before as none", () => {
    const idle = [0, 10, 20, 30, 40, 50].map((second) => NOW + second * S);
    const watched = [51, 52, 53, 54, 55, 56, 80, 81, 82].map((second) => NOW + second * S);
    const buffer = createHostBuffer("web-1", 15);
    const t = [...idle, ...watched];
    mergeHostHistory(
      buffer,
      history(
        t,
        t.map(() => 1),
      ),
    );
    expect(buffer.series.t.filter(isGapRow)).toEqual([NOW + 56 * S + 0.5]);
  });

  it("begins anew from where a clock has stepped back to", () => {
    const buffer = createHostBuffer("web-1", 15);
    for (const second of [0, 1, 2, 3]) appendMetrics(buffer, metrics(NOW + second * S, second));
    appendMetrics(buffer, metrics(NOW + 1500, 9, { seq: 99 }));
    expect(buffer.series.t).toEqual([NOW, NOW + S, NOW + 1500]);
    expect(buffer.series.cpu).toEqual([0, 1, 9]);
  });
});

describe("a host's series of more than 15 minutes", () => {
  const begin = Math.ceil(NOW / MINUTE) * MINUTE;

  it("makes a minute's samples their mean when the next one begins", () => {
    const buffer = createHostBuffer("web-1", 60);
    mergeHostHistory(buffer, history([begin, begin + MINUTE], [10, 20], 60));
    for (const second of [0, 1, 2]) appendMetrics(buffer, metrics(begin + 2 * MINUTE + second * S, 30 + second));
    expect(buffer.series.cpu).toEqual([10, 20, 30, 31, 32]);
    appendMetrics(buffer, metrics(begin + 3 * MINUTE, 50));
    expect(buffer.series.t).toEqual([begin, begin + MINUTE, begin + 2 * MINUTE, begin + 3 * MINUTE]);
    expect(buffer.series.cpu).toEqual([10, 20, 31, 50]);
  });

  it("stays small over a whole day at one sample a second", () => {
    const buffer = createHostBuffer("web-1", 24 * 60);
    for (let second = 0; second < 30 * 3600; second += 4) appendMetrics(buffer, metrics(begin + second * S));
    expect(buffer.series.t.length).toBeLessThanOrEqual(24 * 60 + 62);
    expect(buffer.series.t.length).toBeGreaterThan(24 * 60 - 2);
  });
});

describe("a container's series", () => {
  const id = "a".repeat(64);

  it("has nulls while the container does not run", () => {
    const buffer = createUsageBuffer("web-1", id, 15);
    appendUsage(buffer, usage(NOW, [id], 5));
    appendUsage(buffer, usage(NOW + S, ["b".repeat(64)], 7));
    expect(buffer.series.cpu).toEqual([5, null]);
    expect(buffer.series.memory).toEqual([1, null]);
  });

  it("finds itself in history by the beginning of its id", () => {
    const buffer = createUsageBuffer("web-1", id, 15);
    const container = {
      ...{ cpuPercent: [1, 2], memoryBytes: [3, 4], rxBytesPerSec: [0, 0], txBytesPerSec: [0, 0] },
      ...{ readBytesPerSec: [0, 0], writeBytesPerSec: [0, null] },
    };
    const sampledAt = [NOW - 2 * S, NOW - S];
    const containers = { [id.slice(0, 12)]: container };
    mergeUsageHistory(buffer, { host: "web-1", minutes: 15, usage: { sampledAt, containers, omitted: 0 } });
    appendUsage(buffer, usage(NOW, [id], 5));
    expect(buffer.series.t).toEqual([...sampledAt, NOW]);
    expect(buffer.series.cpu).toEqual([1, 2, 5]);
    expect(buffer.series.write).toEqual([0, null, 6]);
  });
});
