import type { MetricsMessage } from "@fleetcast/client";
import { useMetrics } from "@fleetcast/client/react";
import { useNow } from "../lib/clock.ts";
import { type Freshness, freshness } from "../lib/freshness.ts";
import { useConnected, useHostStatus } from "../lib/status.ts";

export interface ShownMetrics {
  /** The last ones; null before the first. */
  readonly metrics: MetricsMessage | null;
  readonly fresh: Freshness;
  /** They are not how it is now. */
  readonly stale: boolean;
}

export function useHostMetrics(host: string): ShownMetrics {
  const metrics = useMetrics(host).data ?? null;
  const link = useHostStatus(host)?.links.metrics;
  const connected = useConnected();
  const now = useNow();
  const fresh = freshness({ link, sampledAt: metrics?.sampledAt ?? null, now, connected, kind: "metrics" });
  return { metrics, fresh, stale: fresh.state === "stale" || fresh.state === "gone" };
}
