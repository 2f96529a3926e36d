/** Charts over the same time, with what steers them: the range, the zoom, and the time under the crosshair. */

import type { ReactNode } from "react";
import { Button } from "../ui/Button.tsx";
import { Segmented } from "../ui/Segmented.tsx";
import css from "./ChartPanel.module.css";
import { RANGES, type RangeMinutes, rangeLabel, rangeOf } from "./timeline.ts";
import type { ChartGroup } from "./useChartGroup.ts";

interface ChartPanelProps {
  readonly title: string;
  readonly group: ChartGroup;
  readonly minutes: RangeMinutes;
  readonly onMinutes: (minutes: RangeMinutes) => void;
  /** What to say of the data: that it is on its way, or why it is not. */
  readonly note: string | null;
  readonly children: ReactNode;
}

const OPTIONS = RANGES.map((minutes) => ({ value: String(minutes), label: rangeLabel(minutes) }));

export function ChartPanel({ title, group, minutes, onMinutes, note, children }: ChartPanelProps) {
  return (
    <section aria-label={title}>
      <div className={css["bar"]}>
        <h2 className="visually-hidden">{title}</h2>
        <Segmented
          label="Range"
          value={String(minutes)}
          options={OPTIONS}
          onChange={(value) => onMinutes(rangeOf(value))}
        />
        {group.zoomed && (
          <Button size="s" onClick={group.reset}>
            Reset zoom
          </Button>
        )}
        <span className={css["note"]} role="status">
          {note}
        </span>
        <span ref={group.readout} className={css["time"]} aria-hidden="true" />
      </div>
      <div className={css["charts"]}>{children}</div>
    </section>
  );
}
