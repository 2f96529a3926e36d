import type { Container } from "@fleetcast/client";
import { useUsage } from "@fleetcast/client/react";
import { useMemo } from "react";
import { useUsageSeries } from "../history/useSeries.ts";
import { useNow } from "../lib/clock.ts";
import { freshness } from "../lib/freshness.ts";
import { useConnected, useHostStatus } from "../lib/status.ts";
import { ChartPanel } from "./ChartPanel.tsx";
import { CONTAINER_CHARTS } from "./charts.ts";
import { noteOf } from "./HostCharts.tsx";
import { LazyChart } from "./LazyChart.tsx";
import { drawKey, liveWindow, rangeOf } from "./timeline.ts";
import { useChartGroup } from "./useChartGroup.ts";
import { useQueryParam } from "./useQueryParam.ts";

/** What a container has used in the last minutes or hours: the same range as its host's. */
export function ContainerCharts({ host, container }: { readonly host: string; readonly container: Container }) {
  const [range, setRange] = useQueryParam("range");
  const minutes = rangeOf(range);
  const { series, loading, error } = useUsageSeries(host, container.id, minutes);
  const usage = useUsage(host).data;
  const now = useNow();
  const link = useHostStatus(host)?.links.containers;
  const connected = useConnected();
  const fresh = freshness({ link, sampledAt: usage?.sampledAt ?? null, now, connected, kind: "usage" });
  const { min, max } = liveWindow(minutes, series?.t.at(-1) ?? null, now);
  const whole = useMemo(() => ({ min, max }), [min, max]);
  const group = useChartGroup("container", container.id, minutes, whole);

  const drawn = drawKey(minutes, series, max);
  const stale = fresh.state === "stale" || fresh.state === "gone";

  return (
    <ChartPanel
      title="Usage"
      group={group}
      minutes={minutes}
      onMinutes={(to) => setRange(to === 15 ? null : String(to))}
      note={stale && fresh.reason !== null ? `Not live: ${fresh.reason}` : noteOf(loading, error)}
    >
      {series &&
        CONTAINER_CHARTS.map((chart) => (
          <LazyChart
            key={chart.spec.id}
            spec={chart.spec}
            columns={chart.columns(series)}
            drawKey={drawn}
            group={group}
            stale={stale}
          />
        ))}
    </ChartPanel>
  );
}
