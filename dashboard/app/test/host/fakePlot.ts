/** Takes the place of plot.ts: plots that only take notes. */

import { followCrosshair } from "../../src/host/crosshair.ts";
import type { PlotEvents } from "../../src/host/plot.ts";
import type { ChartSpec, Columns, TimeWindow } from "../../src/host/spec.ts";

export interface FakePlot {
  readonly spec: ChartSpec;
  readonly events: PlotEvents;
  readonly drawn: (readonly [Columns, TimeWindow])[];
  destroyed: boolean;
}

export const plots: FakePlot[] = [];

export function createPlot(_box: HTMLElement, spec: ChartSpec, group: string, events: PlotEvents) {
  const plot: FakePlot = { spec, events, drawn: [], destroyed: false };
  plots.push(plot);
  const unfollow = followCrosshair(group, (at) => {
    const times = Array.from(plot.drawn.at(-1)?.[0][0] ?? []);
    events.onCursor(at === null ? null : times.indexOf(at));
  });
  return {
    draw: (columns: Columns, window: TimeWindow) => plot.drawn.push([columns, window]),
    destroy: () => {
      unfollow();
      plot.destroyed = true;
    },
  };
}
