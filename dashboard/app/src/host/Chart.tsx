/** One chart with its legend and its words. Values are written past React: they change with each move of the mouse. */

import { type KeyboardEvent, type ReactNode, useEffect, useEffectEvent, useId, useRef } from "react";
import css from "./Chart.module.css";
import { holdCrosshair } from "./crosshair.ts";
import { createPlot, type Plot } from "./plot.ts";
import { indexBefore, lastKnown, legendTexts, summary } from "./readings.ts";
import type { ChartSpec, Columns } from "./spec.ts";
import { moveCrosshair, zoomAround, zoomWindow } from "./timeline.ts";
import type { ChartGroup } from "./useChartGroup.ts";
import { useOnScreen } from "./useOnScreen.ts";

interface ChartProps {
  /** A new object makes a new chart. */
  readonly spec: ChartSpec;
  /** The same arrays at each render: `drawKey` says that they have changed. */
  readonly columns: Columns;
  readonly drawKey: string;
  readonly group: ChartGroup;
  readonly stale: boolean;
  /** Beside the title. */
  readonly children?: ReactNode;
}

export function Chart({ spec, columns, drawKey, group, stale, children }: ChartProps) {
  const box = useRef<HTMLDivElement | null>(null);
  const caption = useRef<HTMLElement | null>(null);
  const legend = useRef<(HTMLElement | null)[]>([]);
  const plot = useRef<Plot | null>(null);
  /** The row under the crosshair. */
  const cursor = useRef<number | null>(null);
  const onScreen = useOnScreen(box);
  const seen = useRef(false);
  seen.current ||= onScreen;
  const wanted = seen.current;
  const captionId = useId();

  const writeLegend = useEffectEvent((index: number | null) => {
    cursor.current = index;
    const row = index ?? lastKnown(columns);
    legendTexts(spec, columns, row).forEach((text, entry) => {
      const element = legend.current[entry];
      if (element && element.textContent !== text) element.textContent = text;
    });
  });
  const onCursor = useEffectEvent((index: number | null) => {
    writeLegend(index);
    group.showTime(index === null ? null : (columns[0][index] ?? null));
  });
  const onSelect = useEffectEvent((from: number, to: number) => {
    const window = zoomWindow(from, to);
    if (window) group.zoomTo(window);
  });
  const onDoubleClick = useEffectEvent(() => group.reset());

  useEffect(() => {
    if (!wanted || box.current === null) return;
    const made = createPlot(box.current, spec, group.name, { onCursor, onSelect, onDoubleClick });
    plot.current = made;
    return () => {
      plot.current = null;
      made.destroy();
    };
  }, [wanted, spec, group.name]);

  const { view } = group;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `drawKey` stands for what is in the columns; a new plot has nothing
  useEffect(() => {
    if (!onScreen || plot.current === null) return;
    plot.current.draw(columns, view);
    writeLegend(cursor.current);
    const words = summary(spec, columns, view);
    if (caption.current) caption.current.textContent = words;
    if (box.current && box.current !== document.activeElement)
      describe(box.current, view.min, view.max, view.max, words);
  }, [onScreen, spec, group.name, drawKey, view]);

  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [times] = columns;
    const [first, last] = [indexBefore(times, view.min - 1) + 1, indexBefore(times, view.max)];
    if (event.key === "Escape") {
      if (!group.zoomed && cursor.current === null) return;
      group.reset();
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      const at = times[cursor.current ?? last] ?? view.max;
      group.zoomTo(zoomAround(view, group.whole, at, event.key === "-" ? 2 : 0.5));
    } else {
      const to = moveCrosshair(event.key, event.shiftKey, cursor.current, first, last);
      if (to === null || last < first) return;
      const at = times[to] ?? view.max;
      holdCrosshair(group.name, at);
      const values = legendTexts(spec, columns, to).map((text, entry) => `${labelsOf(spec)[entry]} ${text}`);
      if (box.current) describe(box.current, view.min, view.max, at, `${group.timeText(at)}: ${values.join(", ")}`);
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <figure className={css["chart"]} data-greyed={stale} aria-label={spec.title}>
      <div className={css["head"]}>
        <h3>{spec.title}</h3>
        {children}
        <dl className={css["legend"]}>
          {labelsOf(spec).map((label, entry) => (
            <div key={label}>
              <dt>
                {spec.kind === "lines" && <Swatch color={spec.lines[entry]?.color ?? 1} />}
                {label}
              </dt>
              <dd
                data-unit={spec.unit}
                data-kind={spec.kind}
                ref={(element) => {
                  legend.current[entry] = element;
                }}
              >
                –
              </dd>
            </div>
          ))}
        </dl>
      </div>
      {/* A slider over time is what it is to the keyboard: arrows move the crosshair, and its text is read out. */}
      <div
        ref={box}
        className={css["plot"]}
        role="slider"
        tabIndex={0}
        aria-label={`${spec.title} over time`}
        aria-describedby={captionId}
        aria-valuenow={0}
        onKeyDown={onKeyDown}
        onBlur={() => holdCrosshair(group.name, null)}
      />
      <figcaption ref={caption} id={captionId} className="visually-hidden" />
    </figure>
  );
}

function Swatch({ color }: { readonly color: number }) {
  return <i className={css["swatch"]} style={{ background: `var(--series-${color})` }} />;
}

function labelsOf(spec: ChartSpec): readonly string[] {
  return spec.kind === "heat" ? ["busiest"] : spec.lines.map((line) => line.label);
}

function describe(box: HTMLElement, min: number, max: number, at: number, text: string): void {
  box.setAttribute("aria-valuemin", String(Math.round(min)));
  box.setAttribute("aria-valuemax", String(Math.round(max)));
  box.setAttribute("aria-valuenow", String(Math.round(at)));
  box.setAttribute("aria-valuetext", text);
}
