"use client";

import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import type { FleetClient } from "../types.ts";
import type {
  ContainersMessage,
  EventMessage,
  HostsMessage,
  MetricsMessage,
  ProcessesMessage,
  UsageMessage,
} from "../wire.ts";
import { expectEvents, expectMember, retryDelayMs, shouldRetry } from "./asking.ts";
import { fleetcastKeys } from "./keys.ts";
import { useFleetcast } from "./provider.tsx";

/** Each host's newest message by its name. A host whose message has not changed keeps the very same object. */
export type ByHost<Message> = Readonly<Record<string, Message>>;

type StateMessages = {
  readonly metrics: MetricsMessage;
  readonly containers: ContainersMessage;
  readonly usage: UsageMessage;
  readonly processes: ProcessesMessage;
};

/** The roster: every host with its links and labels. */
export function useHosts(): UseQueryResult<HostsMessage> {
  const client = useFleetcast();
  return useQuery({
    queryKey: fleetcastKeys.hosts(),
    queryFn: async ({ signal }) =>
      expectMember(await client.get("/api/hosts", signal), "type", "hosts") as HostsMessage,
    retry: shouldRetry,
    retryDelay: retryDelayMs,
  });
}

/** Of one host, or of every host by its name. */
export function useMetrics(): UseQueryResult<ByHost<MetricsMessage>>;
export function useMetrics(host: string): UseQueryResult<MetricsMessage>;
export function useMetrics(host?: string): UseQueryResult<MetricsMessage | ByHost<MetricsMessage>> {
  return useLastState("metrics", host);
}

/** Of one host, or of every host by its name. */
export function useContainers(): UseQueryResult<ByHost<ContainersMessage>>;
export function useContainers(host: string): UseQueryResult<ContainersMessage>;
export function useContainers(host?: string): UseQueryResult<ContainersMessage | ByHost<ContainersMessage>> {
  return useLastState("containers", host);
}

/** Of one host, or of every host by its name. */
export function useUsage(): UseQueryResult<ByHost<UsageMessage>>;
export function useUsage(host: string): UseQueryResult<UsageMessage>;
export function useUsage(host?: string): UseQueryResult<UsageMessage | ByHost<UsageMessage>> {
  return useLastState("usage", host);
}

/** The host samples its processes only while somebody watches them. */
export function useProcesses(host: string): UseQueryResult<ProcessesMessage> {
  return useLastState("processes", host) as UseQueryResult<ProcessesMessage>;
}

/** Of one host or of all, the oldest first: the newest 500 since a while before the component came. */
export function useEvents(host?: string): UseQueryResult<readonly EventMessage[]> {
  const client = useFleetcast();
  const path = host === undefined ? "/api/events/last" : `/api/hosts/${encodeURIComponent(host)}/events`;
  return useQuery({
    queryKey: fleetcastKeys.events(host),
    queryFn: async ({ signal }) =>
      expectEvents(await client.get(`${path}?limit=200`, signal)) as readonly EventMessage[],
    retry: shouldRetry,
    retryDelay: retryDelayMs,
  });
}

function useLastState<Kind extends keyof StateMessages>(
  kind: Kind,
  host: string | undefined,
): UseQueryResult<StateMessages[Kind] | ByHost<StateMessages[Kind]>> {
  const client = useFleetcast();
  return useQuery({
    queryKey: host === undefined ? ["fleetcast", kind] : ["fleetcast", kind, host],
    queryFn: ({ signal }) => lastState(client, kind, host, signal),
    // All hosts at once are pushed and never asked for.
    enabled: host !== undefined,
    retry: shouldRetry,
    retryDelay: retryDelayMs,
  });
}

async function lastState<Kind extends keyof StateMessages>(
  client: FleetClient,
  kind: Kind,
  host: string | undefined,
  signal: AbortSignal,
): Promise<StateMessages[Kind] | ByHost<StateMessages[Kind]>> {
  if (host === undefined) {
    throw new Error(`the ${kind} of all hosts are pushed: they cannot be asked for`);
  }
  const answer = await client.get(`/api/hosts/${encodeURIComponent(host)}/${kind}`, signal);
  return expectMember(answer, "type", kind) as StateMessages[Kind];
}
