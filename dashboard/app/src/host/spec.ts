/** What a chart shows, as plain data: lines over time in one unit, or cores as a heat strip. */

export type Unit = "percent" | "bytes" | "bytesPerSec" | "load" | "celsius";

export interface Line {
  readonly label: string;
  /** Which of the tokens `--chart-1`, `--chart-2`, ... it is drawn in. */
  readonly color: number;
  /** Whether the area below is tinted. */
  readonly fill?: boolean;
}

export interface ChartSpec {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  readonly kind: "lines" | "heat";
  readonly lines: readonly Line[];
  /** The top of the y axis, where it does not follow from the data. */
  readonly top?: number;
}

/** Times in ms, then one array a line, as uPlot takes them; null where there is no value. Read, never kept or changed. */
export type Columns = readonly [times: ArrayLike<number>, ...values: ArrayLike<number | null>[]];

/** Both ends in ms since the epoch. */
export interface TimeWindow {
  readonly min: number;
  readonly max: number;
}
