"use client";

import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import type { FleetClient } from "../types.ts";
import type { History } from "../wire.ts";
import { expectMember, retryDelayMs, shouldRetry } from "./asking.ts";
import { fleetcastKeys, type HistoryRequest } from "./keys.ts";
import { useFleetcast } from "./provider.tsx";
import { createTurns, type Turns } from "./turns.ts";

/** Histories are large, and an edge reads few of them at a time. */
const AT_A_TIME = 4;
const FULL_MINUTES = 15;
const FRESH_FOR_MS = 10_000;
const MEANS_FRESH_FOR_MS = 60_000;
const KEPT_FOR_MS = 60_000;

export interface HistoryOptions extends HistoryRequest {
  /** False: not yet. True without it. */
  readonly enabled?: boolean;
}

/**
 * What a host's collector has sampled in the last minutes, as columns. Asked for once, not pushed: go on from it with
 * `useMetrics` or `useUsage`. All hooks of a client together ask for four at a time, the others wait for their turn.
 */
export function useHistory(host: string, options: HistoryOptions): UseQueryResult<History> {
  const { enabled = true, ...request } = options;
  const client = useFleetcast();
  return useQuery({
    queryKey: fleetcastKeys.history(host, request),
    queryFn: ({ signal }) => turnsOf(client).run(() => fetchHistory(client, host, request, signal), signal),
    enabled,
    staleTime: request.minutes <= FULL_MINUTES ? FRESH_FOR_MS : MEANS_FRESH_FOR_MS,
    gcTime: KEPT_FOR_MS,
    retry: shouldRetry,
    retryDelay: retryDelayMs,
  });
}

const turns = new WeakMap<FleetClient, Turns>();

function turnsOf(client: FleetClient): Turns {
  const known = turns.get(client) ?? createTurns(AT_A_TIME);
  turns.set(client, known);
  return known;
}

async function fetchHistory(
  client: FleetClient,
  host: string,
  { minutes, kind, container, points }: HistoryRequest,
  signal: AbortSignal,
): Promise<History> {
  const query = new URLSearchParams({ minutes: String(minutes) });
  for (const [name, value] of Object.entries({ kind, container, points })) {
    if (value !== undefined) {
      query.set(name, String(value));
    }
  }
  const answer = await client.get(`/api/hosts/${encodeURIComponent(host)}/history?${query}`, signal);
  return expectMember(answer, "host", host) as History;
}
