import { describe, expect, it } from "vitest";
import { age, bytes, bytesPerSec, day, duration, percent } from "../../src/lib/format.ts";

const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 KiB"],
    [1536, "1.5 KiB"],
    [102_400, "100 KiB"],
    [99.97 * 1024, "100 KiB"],
    [999.6 * 1024, "1.0 MiB"],
    [8 * 1024 ** 3, "8.0 GiB"],
    [3 * 1024 ** 4, "3.0 TiB"],
    [-5, "0 B"],
  ])("says %d as %s", (count, said) => {
    expect(plain(bytes(count))).toBe(said);
  });

  it("never has more than four digits, so that a column keeps its width", () => {
    for (let count = 1; count < 1024 ** 5; count *= 1.37) {
      expect(bytes(count).replace(/[^\d]/g, "").length).toBeLessThanOrEqual(3);
    }
  });
});

describe("what is not known", () => {
  it("is a dash everywhere", () => {
    for (const format of [bytes, bytesPerSec, percent, duration, age]) {
      expect(format(null)).toBe("–");
      expect(format(undefined)).toBe("–");
      expect(format(Number.NaN)).toBe("–");
    }
  });
});

describe("duration", () => {
  it.each([
    [0, "0 ms"],
    [120, "120 ms"],
    [42_000, "42 s"],
    [60_000, "1 min"],
    [125_000, "2 min 5 s"],
    [3_600_000, "1 h"],
    [26 * 3_600_000, "1 d 2 h"],
    [(3 * 24 + 4) * 3_600_000 + 59_000, "3 d 4 h"],
  ])("says %d ms as %s", (ms, said) => {
    expect(plain(duration(ms))).toBe(said);
  });
});

describe("age", () => {
  it.each([
    [-4000, "now"],
    [999, "now"],
    [12_000, "12 s ago"],
    [119_000, "119 s ago"],
    [120_000, "2 min ago"],
    [7_200_000, "2 h ago"],
    [172_800_000, "2 d ago"],
  ])("says %d ms as %s", (ms, said) => {
    expect(plain(age(ms))).toBe(said);
  });
});

describe("day", () => {
  it("is today and yesterday by the calendar, not by 24 hours", () => {
    const now = new Date(2026, 10, 24, 0, 5).getTime();
    expect(day(new Date(2026, 10, 24, 0, 1).getTime(), now)).toBe("Today");
    expect(day(new Date(2026, 10, 23, 23, 59).getTime(), now)).toBe("Yesterday");
    expect(day(new Date(2026, 10, 22, 23, 59).getTime(), now)).toBe("Sunday 22 Nov");
  });
});
