import { memo } from "react";
import css from "./Sparkline.module.css";
import { areaPath, linePath, strokesOf } from "./strokes.ts";

interface SparklineProps {
  /** Null and NaN are gaps. May be changed in place: `version` says that they were. */
  readonly values: ArrayLike<number | null>;
  readonly version?: number;
  /** The scale's top; without it, the largest value. */
  readonly max?: number;
  /** For screen readers: what it shows, and over which time. */
  readonly label: string;
  /** CSS pixels. */
  readonly width?: number;
  readonly height?: number;
}

/**
 * A line without axes in the text's colour, drawn only when it is another one. Two paths and no canvas: a canvas for each
 * line costs more to make than all else of a tile, which is felt where 500 hosts are scrolled.
 */
export const Sparkline = memo(function Sparkline({ values, max, label, width = 120, height = 26 }: SparklineProps) {
  const strokes = strokesOf(values, { width, height, max: max ?? null });
  return (
    <svg className={css.line} width={width} height={height} role="img" aria-label={label}>
      <path className={css.area} d={areaPath(strokes, height)} />
      <path d={linePath(strokes)} />
    </svg>
  );
});
