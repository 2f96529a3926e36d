/**
 * What the fleet's tiles show now: of each host its last metrics, and what its containers come to. Beside the Query cache
 * on purpose: with 500 messages a second each must cost as good as nothing, and only tiles on the screen are told.
 */

import type { ContainersMessage, FleetClient, MetricsMessage } from "@fleetcast/client";

export interface Counts {
  readonly sampledAt: number;
  readonly total: number;
  readonly running: number;
  readonly unhealthy: number;
  readonly restarting: number;
}

export interface FleetStore {
  /** Null before the first message. */
  readonly metricsOf: (host: string) => MetricsMessage | null;
  readonly countsOf: (host: string) => Counts | null;
  /** Calls back after what is known of the host has changed, together with others' changes. */
  readonly watch: (host: string, changed: () => void) => () => void;
  /** Hosts that are not in the roster any more are forgotten. */
  readonly keep: (hosts: ReadonlySet<string>) => void;
  /** Subscribes; what it returns undoes that. What is known stays known. */
  readonly start: () => () => void;
}

/** Tiles are told at the same moments, so that the page is laid out and painted once for all of them. */
const FLUSH_MS = 500;
/** What somebody has just opened does not wait for such a moment. */
const FIRST_FLUSH_MS = 30;
/** Containers are the larger part by far: metrics are to be there before them, where there are any. */
const CONTAINERS_BY_MS = 500;

export function createFleetStore(client: Pick<FleetClient, "subscribe">, now: () => number): FleetStore {
  const metrics = new Map<string, MetricsMessage>();
  const counts = new Map<string, Counts>();
  const watchers = new Map<string, Set<() => void>>();
  const changed = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let isFirst = true;

  const flush = () => {
    timer = null;
    isFirst = false;
    const hosts = [...changed];
    changed.clear();
    for (const host of hosts) for (const tell of watchers.get(host) ?? []) tell();
  };
  const note = (host: string) => {
    if (!watchers.has(host)) return;
    changed.add(host);
    timer ??= setTimeout(flush, isFirst ? FIRST_FLUSH_MS : FLUSH_MS - (now() % FLUSH_MS));
  };

  return {
    metricsOf: (host) => metrics.get(host) ?? null,
    countsOf: (host) => counts.get(host) ?? null,
    watch: (host, tell) => {
      const those = watchers.get(host) ?? new Set();
      watchers.set(host, those.add(tell));
      return () => {
        those.delete(tell);
        if (those.size === 0) watchers.delete(host);
      };
    },
    keep: (hosts) => {
      for (const known of [metrics, counts]) {
        for (const host of known.keys()) if (!hosts.has(host)) known.delete(host);
      }
    },
    start: () => {
      let stopContainers: (() => void) | null = null;
      const followContainers = () => {
        stopContainers ??= client.subscribe("containers", (message) => {
          counts.set(message.host, countsIn(message));
          note(message.host);
        });
      };
      const atLatest = setTimeout(followContainers, CONTAINERS_BY_MS);
      const stopMetrics = client.subscribe("metrics", (message) => {
        metrics.set(message.host, message);
        note(message.host);
        if (!isFirst) followContainers();
      });
      return () => {
        clearTimeout(atLatest);
        stopMetrics();
        stopContainers?.();
        if (timer !== null) clearTimeout(timer);
        timer = null;
      };
    },
  };
}

export function countsIn(message: ContainersMessage): Counts {
  const found = { sampledAt: message.sampledAt, total: message.data.length, running: 0, unhealthy: 0, restarting: 0 };
  for (const container of message.data) {
    if (container.state === "running") found.running += 1;
    if (container.state === "restarting") found.restarting += 1;
    if (container.state === "running" && container.health === "unhealthy") found.unhealthy += 1;
  }
  return found;
}
