/** From values to the lines of a sparkline. Pure. */

export interface Scale {
  readonly width: number;
  readonly height: number;
  /** The top; null: the largest value. */
  readonly max: number | null;
}

export type Point = readonly [x: number, y: number];

/** Room for half the line's width. */
const MARGIN = 1;

/** One list of points for each stretch without a gap; values stand at equal distances over the whole width. */
export function strokesOf(values: ArrayLike<number | null>, scale: Scale): readonly (readonly Point[])[] {
  const top = scale.max ?? largest(values);
  const strokes: Point[][] = [];
  let stroke: Point[] | null = null;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? null;
    if (value === null || Number.isNaN(value)) {
      stroke = null;
      continue;
    }
    if (stroke === null) {
      stroke = [];
      strokes.push(stroke);
    }
    stroke.push([x(index, values.length, scale.width), y(value, top, scale.height)]);
  }
  return strokes;
}

function largest(values: ArrayLike<number | null>): number {
  let top = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? 0;
    if (value > top) top = value;
  }
  return top;
}

function x(index: number, count: number, width: number): number {
  return count < 2 ? width : (index / (count - 1)) * width;
}

function y(value: number, top: number, height: number): number {
  const share = top <= 0 ? 0 : Math.min(1, Math.max(0, value / top));
  return height - MARGIN - share * (height - 2 * MARGIN);
}

/** A sample alone is a short line: one of no length would not be seen. */
export function linePath(strokes: readonly (readonly Point[])[]): string {
  return strokes.map((stroke) => `${polyline(stroke)}${stroke.length === 1 ? "h1" : ""}`).join("");
}

/** What is below the lines. */
export function areaPath(strokes: readonly (readonly Point[])[], height: number): string {
  return strokes
    .map((stroke) => {
      const [first, last] = [stroke[0], stroke.at(-1)];
      if (first === undefined || last === undefined || stroke.length === 1) return "";
      return `${polyline(stroke)}V${height}H${short(first[0])}Z`;
    })
    .join("");
}

function polyline(stroke: readonly Point[]): string {
  return `M${stroke.map(([x, y]) => `${short(x)} ${short(y)}`).join("L")}`;
}

/** Tenths of a pixel. */
function short(value: number): number {
  return Math.round(value * 10) / 10;
}
