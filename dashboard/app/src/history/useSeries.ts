/** The last minutes of a host or a container: from history once, and live from there. */

import type { History, MessageOf } from "@fleetcast/client";
import { useFleetcast, useHistory } from "@fleetcast/client/react";
import { useEffect, useMemo, useReducer } from "react";
import {
  type Appended,
  appendMetrics,
  appendUsage,
  createHostBuffer,
  createUsageBuffer,
  type HostSeries,
  mergeHostHistory,
  mergeUsageHistory,
  SHORT_ID,
  type UsageSeries,
} from "./series.ts";

export interface SeriesResult<S> {
  /** The same object while host and minutes are the same; `series.version` rises when it changes. Null if not enabled. */
  readonly series: S | null;
  /** `series.version` at this render, for the dependencies of effects; 0 without a series. */
  readonly version: number;
  /** History has not come yet; live samples may be there already. */
  readonly loading: boolean;
  /** Why history did not come. */
  readonly error: Error | null;
}

/** Full resolution up to 15 minutes, means of minutes beyond. */
export function useHostSeries(host: string, minutes: number, enabled = true): SeriesResult<HostSeries> {
  const source = useMemo((): Source<"metrics", HostSeries> | null => {
    if (!enabled) return null;
    const buffer = createHostBuffer(host, minutes);
    return {
      series: buffer.series,
      channel: `metrics:${host}`,
      append: (message) => appendMetrics(buffer, message),
      merge: (history) => mergeHostHistory(buffer, history),
    };
  }, [host, minutes, enabled]);
  return useSeries(source, host, { minutes, kind: "metrics" });
}

/** One container's, as `useHostSeries`. `containerId`: all 64 characters. */
export function useUsageSeries(
  host: string,
  containerId: string,
  minutes: number,
  enabled = true,
): SeriesResult<UsageSeries> {
  const source = useMemo((): Source<"usage", UsageSeries> | null => {
    if (!enabled) return null;
    const buffer = createUsageBuffer(host, containerId, minutes);
    return {
      series: buffer.series,
      channel: `usage:${host}`,
      append: (message) => appendUsage(buffer, message),
      merge: (history) => mergeUsageHistory(buffer, history),
    };
  }, [host, containerId, minutes, enabled]);
  return useSeries(source, host, { minutes, kind: "usage", container: containerId.slice(0, SHORT_ID) });
}

interface Source<K extends "metrics" | "usage", S> {
  readonly series: S;
  readonly channel: `${K}:${string}`;
  readonly append: (message: MessageOf<`${K}:${string}`>) => Appended;
  readonly merge: (history: History) => void;
}

interface Asked {
  readonly minutes: number;
  readonly kind: "metrics" | "usage";
  readonly container?: string;
}

/** History is not asked for again more often, however many gaps come. */
const REFILL_EVERY_MS = 15_000;

function useSeries<K extends "metrics" | "usage", S extends { readonly version: number }>(
  source: Source<K, S> | null,
  host: string,
  asked: Asked,
): SeriesResult<S> {
  const client = useFleetcast();
  const [, changed] = useReducer((count: number) => count + 1, 0);
  const history = useHistory(host, { ...asked, enabled: source !== null });
  const { data, refetch } = history;

  useEffect(() => {
    if (source === null || data === undefined) return;
    source.merge(data);
    changed();
  }, [source, data]);

  useEffect(() => {
    if (source === null) return;
    let refilledAt = Number.NEGATIVE_INFINITY;
    return client.subscribe(source.channel, (message) => {
      const appended = source.append(message);
      if (appended === "ignored") return;
      changed();
      // What is missing may be missing here only, because this page was cut off: history knows.
      if (appended !== "gap" || client.now() - refilledAt < REFILL_EVERY_MS) return;
      refilledAt = client.now();
      void refetch();
    });
  }, [client, source, refetch]);

  return {
    series: source?.series ?? null,
    version: source?.series.version ?? 0,
    loading: history.isLoading,
    error: history.error,
  };
}
