/** Small histories of many hosts, for those that are on the screen: asked for a few at a time, and live from there. */

import type { FleetClient, History, MetricsMessage } from "@fleetcast/client";
import { useFleetcast } from "@fleetcast/client/react";
import { useCallback, useSyncExternalStore } from "react";
import { createSpark, extendSpark, fillSpark, POINTS, type Spark } from "./spark.ts";

export type { Spark } from "./spark.ts";

/** What the store needs of the page. */
export interface SparkSource {
  /** `/history` of the last 15 minutes; rejects where there is none. */
  readonly fetch: (host: string) => Promise<History>;
  readonly subscribe: (handler: (message: MetricsMessage) => void) => () => void;
}

export interface SparkStore {
  /** While watched, a host's history is fetched once and kept up to date. */
  readonly watch: (host: string, changed: () => void) => () => void;
  /** Null before anything is known. */
  readonly sparkOf: (host: string) => Spark | null;
  /** `spark.version`; 0 before anything is known. */
  readonly versionOf: (host: string) => number;
}

/** Requests under way at the same time: an edge serves others too. */
const AT_A_TIME = 4;
/** Hosts beyond are forgotten, those first that have not been watched for longest. */
const MOST_SPARKS = 600;
/** What is scrolled past within this time is not asked for. */
const SETTLE_MS = 150;
/** After a failure. */
const RETRY_MS = 30_000;

interface Entry {
  readonly spark: Spark;
  /** `wanted` waits for its turn; `failed` for its next. */
  stage: "wanted" | "asked" | "filled" | "failed";
}

export function createSparkStore(source: SparkSource): SparkStore {
  const entries = new Map<string, Entry>();
  const watchers = new Map<string, Set<() => void>>();
  let underWay = 0;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let unsubscribe: (() => void) | null = null;

  const settle = (ms: number) => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      askNext();
    }, ms);
  };
  const askNext = () => {
    for (const host of watchers.keys()) {
      if (underWay >= AT_A_TIME) return;
      const entry = entries.get(host);
      if (entry?.stage === "wanted") void ask(host, entry);
    }
  };
  const ask = async (host: string, entry: Entry) => {
    entry.stage = "asked";
    underWay += 1;
    try {
      const { metrics } = await source.fetch(host);
      if (metrics) fillSpark(entry.spark, metrics);
      entry.stage = "filled";
      notify(host);
    } catch {
      // The line begins with what comes live; history is asked for again later.
      entry.stage = "failed";
      setTimeout(() => {
        entry.stage = "wanted";
        settle(0);
      }, RETRY_MS);
    } finally {
      underWay -= 1;
      askNext();
    }
  };
  const notify = (host: string) => {
    for (const changed of watchers.get(host) ?? []) changed();
  };
  const take = (message: MetricsMessage) => {
    const entry = entries.get(message.host);
    if (entry === undefined) return;
    const extended = extendSpark(entry.spark, message);
    if (extended === "kept") return;
    if (extended === "missed" && entry.stage === "filled") {
      entry.stage = "wanted";
      settle(SETTLE_MS);
    }
    notify(message.host);
  };
  const remember = (host: string) => {
    const entry = entries.get(host) ?? { spark: createSpark(), stage: "wanted" };
    entries.delete(host);
    entries.set(host, entry);
    for (const oldest of entries.keys()) {
      if (entries.size <= MOST_SPARKS) break;
      if (!watchers.has(oldest)) entries.delete(oldest);
    }
    if (entry.stage === "wanted") settle(SETTLE_MS);
  };

  return {
    watch: (host, changed) => {
      const those = watchers.get(host) ?? new Set();
      watchers.set(host, those.add(changed));
      remember(host);
      unsubscribe ??= source.subscribe(take);
      return () => {
        those.delete(changed);
        if (those.size > 0) return;
        watchers.delete(host);
        if (watchers.size > 0) return;
        unsubscribe?.();
        unsubscribe = null;
      };
    },
    sparkOf: (host) => entries.get(host)?.spark ?? null,
    versionOf: (host) => entries.get(host)?.spark.version ?? 0,
  };
}

/** A host's small history, kept while `visible`; renders again when it is worth drawing again (`spark.version`). */
export function useSparkline(host: string, visible: boolean): Spark | null {
  const store = storeOf(useFleetcast());
  const watch = useCallback(
    (changed: () => void) => (visible ? store.watch(host, changed) : () => undefined),
    [store, host, visible],
  );
  useSyncExternalStore(watch, () => store.versionOf(host));
  return store.sparkOf(host);
}

const stores = new WeakMap<FleetClient, SparkStore>();

function storeOf(client: FleetClient): SparkStore {
  const known = stores.get(client);
  if (known) return known;
  const made = createSparkStore({
    // Twice as many rows as points: each point has at least one, wherever the rows' spans begin.
    fetch: async (host) => {
      const path = `/api/hosts/${encodeURIComponent(host)}/history?minutes=15&kind=metrics&points=${POINTS * 2}`;
      return (await client.get(path)) as History;
    },
    subscribe: (handler) => client.subscribe("metrics", handler),
  });
  stores.set(client, made);
  return made;
}
