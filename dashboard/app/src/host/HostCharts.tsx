import type { MetricsMessage } from "@fleetcast/client";
import { useMemo, useState } from "react";
import type { HostSeries } from "../history/series.ts";
import { useHostSeries } from "../history/useSeries.ts";
import { useNow } from "../lib/clock.ts";
import { Segmented } from "../ui/Segmented.tsx";
import { ChartPanel } from "./ChartPanel.tsx";
import { coreChart, hostCharts } from "./charts.ts";
import { LazyChart } from "./LazyChart.tsx";
import { drawKey, liveWindow, rangeOf } from "./timeline.ts";
import { useChartGroup } from "./useChartGroup.ts";
import { useHostMetrics } from "./useHostMetrics.ts";
import { useQueryParam } from "./useQueryParam.ts";

const CPU_VIEWS = [
  { value: "all", label: "all" },
  { value: "cores", label: "by core" },
] as const;

/** A host's last minutes or hours. */
export function HostCharts({ host }: { readonly host: string }) {
  const { metrics, stale } = useHostMetrics(host);
  const [range, setRange] = useQueryParam("range");
  const [byCore, setByCore] = useState(false);
  const minutes = rangeOf(range);
  const { series, loading, error } = useHostSeries(host, minutes);
  const now = useNow();
  const { min, max } = liveWindow(minutes, series?.t.at(-1) ?? null, now);
  const whole = useMemo(() => ({ min, max }), [min, max]);
  const group = useChartGroup("host", host, minutes, whole);
  const { cpuCharts, others } = useHostCharts(metrics, series);
  const drawn = drawKey(minutes, series, max);

  return (
    <ChartPanel
      title="Charts"
      group={group}
      minutes={minutes}
      onMinutes={(to) => setRange(to === 15 ? null : String(to))}
      note={noteOf(loading, error)}
    >
      {series &&
        [cpuCharts[byCore ? 1 : 0], ...others].map(
          (chart) =>
            chart && (
              <LazyChart
                key={chart.spec.id}
                spec={chart.spec}
                columns={chart.columns(series)}
                drawKey={drawn}
                group={group}
                stale={stale}
              >
                {cpuCharts.includes(chart) && (
                  <Segmented
                    label="CPU shown"
                    value={byCore ? "cores" : "all"}
                    options={CPU_VIEWS}
                    onChange={(shown) => setByCore(shown === "cores")}
                  />
                )}
              </LazyChart>
            ),
        )}
    </ChartPanel>
  );
}

/** The same specs as long as the host has the same cores, memory and sensors: a new one is a new chart. */
function useHostCharts(metrics: MetricsMessage | null, series: HostSeries | null) {
  const data = metrics?.data;
  const cores = data?.cpu.cores ?? series?.perCore.length ?? 1;
  const memoryTotalBytes = data?.memory.totalBytes ?? series?.memTotal.findLast((total) => total !== null) ?? 0;
  const hasSwap = (data?.swap.totalBytes ?? 0) > 0;
  const sensors = [...(series?.temperatures.keys() ?? [])].sort().join("\n");
  return useMemo(() => {
    const shape = { cores, memoryTotalBytes, hasSwap, sensors: sensors === "" ? [] : sensors.split("\n") };
    const [cpu, ...others] = hostCharts(shape);
    return { cpuCharts: [cpu, coreChart(cores)], others };
  }, [cores, memoryTotalBytes, hasSwap, sensors]);
}

export function noteOf(loading: boolean, error: Error | null): string | null {
  if (error) return `No history: ${error.message}`;
  return loading ? "Loading history…" : null;
}
