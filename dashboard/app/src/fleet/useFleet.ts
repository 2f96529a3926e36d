import type { FleetClient, HostStatus, MetricsMessage } from "@fleetcast/client";
import { useFleetcast } from "@fleetcast/client/react";
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useLocation, useSearch } from "wouter";
import { useNow } from "../lib/clock.ts";
import { arrange, type Group, holdPlaces, isSameOrder } from "./order.ts";
import { type FleetQuery, formatQuery, parseQuery } from "./query.ts";
import { type Counts, createFleetStore, type FleetStore } from "./store.ts";

/** The values that orders, totals and the filter go by are looked at so often. */
const RESORT_EVERY_MS = 5_000;

/** The store of this page's client: kept, so that a fleet that was seen before is there at once. */
export function useFleetStore(hosts: readonly HostStatus[] | undefined): FleetStore {
  const client = useFleetcast();
  const store = storeOf(client);
  useEffect(() => store.start(), [store]);
  useEffect(() => {
    if (hosts !== undefined) store.keep(new Set(hosts.map((one) => one.host)));
  }, [store, hosts]);
  return store;
}

export interface HostNow {
  readonly metrics: MetricsMessage | null;
  readonly counts: Counts | null;
}

/** Renders again when something of this host has changed, at most twice a second. */
export function useHostNow(store: FleetStore, host: string): HostNow {
  const watch = useCallback((changed: () => void) => store.watch(host, changed), [store, host]);
  return {
    metrics: useSyncExternalStore(watch, () => store.metricsOf(host)),
    counts: useSyncExternalStore(watch, () => store.countsOf(host)),
  };
}

export function useFleetQuery(): readonly [FleetQuery, (change: Partial<FleetQuery>) => void] {
  const search = useSearch();
  const [, navigate] = useLocation();
  const query = useMemo(() => parseQuery(search), [search]);
  const change = useCallback(
    (changes: Partial<FleetQuery>) => navigate(`/${formatQuery({ ...query, ...changes })}`, { replace: true }),
    [query, navigate],
  );
  return [query, change];
}

/**
 * The hosts in their order, which follows live values every five seconds, and not while `isHeld`; a change of the query
 * counts at once.
 */
export function useOrder(
  hosts: readonly HostStatus[],
  store: FleetStore,
  query: FleetQuery,
  isHeld: () => boolean,
): readonly Group[] {
  const tick = useNow(RESORT_EVERY_MS);
  const last = useRef<{ readonly query: FleetQuery; readonly groups: readonly Group[] } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each tick the store's values are others
  return useMemo(() => {
    const fresh = arrange(hosts, store, query);
    const before = last.current?.query === query ? last.current.groups : null;
    const isNew = before === null || before.length === 0;
    const next = isNew || !isHeld() ? fresh : holdPlaces(before, fresh, new Set(hosts.map((one) => one.host)));
    const groups = before !== null && isSameOrder(before, next) ? before : next;
    last.current = { query, groups };
    return groups;
  }, [hosts, store, query, isHeld, tick]);
}

const stores = new WeakMap<FleetClient, FleetStore>();

function storeOf(client: FleetClient): FleetStore {
  const known = stores.get(client);
  if (known) return known;
  const made = createFleetStore(client, () => performance.now());
  stores.set(client, made);
  return made;
}
