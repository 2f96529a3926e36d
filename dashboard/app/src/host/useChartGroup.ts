/** What charts over the same time share: the window that they show, the zoom, and where the crosshair stands. */

import { type RefObject, useCallback, useMemo, useRef, useState } from "react";
import { holdCrosshair } from "./crosshair.ts";
import type { TimeWindow } from "./spec.ts";
import { crosshairTime, type RangeMinutes } from "./timeline.ts";

export interface ChartGroup {
  /** The name that uPlot syncs crosshairs by. */
  readonly name: string;
  /** What is shown now. */
  readonly view: TimeWindow;
  /** What is shown without a zoom. */
  readonly whole: TimeWindow;
  readonly zoomed: boolean;
  readonly zoomTo: (window: TimeWindow | null) => void;
  /** Back to live: no zoom, no crosshair of the keyboard's. */
  readonly reset: () => void;
  /** Where the time under the crosshair is written. */
  readonly readout: RefObject<HTMLSpanElement | null>;
  readonly showTime: (at: number | null) => void;
  readonly timeText: (at: number) => string;
}

/** `of`: what the charts are of; a zoom is over when it or the range changes. */
export function useChartGroup(name: string, of: string, minutes: RangeMinutes, whole: TimeWindow): ChartGroup {
  const key = `${of} ${minutes}`;
  const [zoom, setZoom] = useState<{ readonly key: string; readonly window: TimeWindow } | null>(null);
  const readout = useRef<HTMLSpanElement | null>(null);
  const window = zoom?.key === key ? zoom.window : null;
  const zoomTo = useCallback((to: TimeWindow | null) => setZoom(to && { key, window: to }), [key]);
  const reset = useCallback(() => {
    holdCrosshair(name, null);
    setZoom(null);
  }, [name]);
  const timeText = useCallback((at: number) => crosshairTime(at, minutes), [minutes]);
  const showTime = useCallback(
    (at: number | null) => {
      if (readout.current) readout.current.textContent = at === null ? "" : timeText(at);
    },
    [timeText],
  );
  const { min, max } = window ?? whole;
  const view = useMemo(() => ({ min, max }), [min, max]);
  return { name, view, whole, zoomed: window !== null, zoomTo, reset, readout, showTime, timeText };
}
