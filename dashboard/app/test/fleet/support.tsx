import type {
  Channel,
  ContainersMessage,
  FleetClient,
  HostStatus,
  Link,
  MetricsMessage,
  Status,
} from "@fleetcast/client";
import { FleetcastProvider } from "@fleetcast/client/react";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { hostMetrics, NOW } from "../history/messages.ts";

export function link(state: Link["state"] = "live", reason?: string): Link {
  return reason === undefined ? { state } : { state, reason };
}

export function hostStatus(host: string, changes: Partial<HostStatus> = {}): HostStatus {
  const links = { metrics: link(), containers: link(), executor: link() };
  return { host, status: "live", expected: "always", lastSeenAt: NOW, links, labels: {}, ...changes };
}

export function hostGone(host: string, changes: Partial<HostStatus> = {}): HostStatus {
  const links = {
    metrics: link("gone", "silent"),
    containers: link("gone", "silent"),
    executor: link("gone", "silent"),
  };
  return hostStatus(host, { status: "gone", links, ...changes });
}

export function metricsOf(host: string, cpu = 10, changes: Partial<MetricsMessage> = {}): MetricsMessage {
  const data = hostMetrics({ cpu: { percent: cpu, perCorePercent: [cpu], cores: 1, load: [0.5, 0, 0] } });
  return { type: "metrics", host, epoch: 1, seq: 1, sampledAt: NOW, data, ...changes };
}

/** Of so many running and healthy, running and unhealthy, and exited containers. */
export function containersOf(host: string, healthy: number, unhealthy = 0, exited = 0): ContainersMessage {
  const one = (state: "running" | "exited", health: "healthy" | "unhealthy") => ({
    ...{ id: "a".repeat(64), name: "web", image: "web", state, status: "", health, createdAt: 0, startedAt: 0 },
    ...{ finishedAt: null, exitCode: null, oomKilled: false, restartCount: 0, ports: [], project: null },
    ...{ service: null, labels: {}, protected: false },
  });
  const data = [
    ...Array.from({ length: healthy }, () => one("running", "healthy")),
    ...Array.from({ length: unhealthy }, () => one("running", "unhealthy")),
    ...Array.from({ length: exited }, () => one("exited", "unhealthy")),
  ];
  return { type: "containers", host, epoch: 1, seq: 1, sampledAt: NOW, data };
}

/** A client without a connection, whose messages and status the test decides. */
export function fakeClient() {
  const handlers = new Map<string, Set<(message: never) => void>>();
  const onStatus = new Set<(status: Status) => void>();
  const asked: string[] = [];
  const begin = Date.now();
  let status: Status = {
    ...{ state: "open", transport: "websocket", latencyMs: 1, lastError: null, retryAt: null, attempt: 0 },
    ...{ session: null, skippedFrames: 0 },
  };
  const client: FleetClient = {
    get status() {
      return status;
    },
    onStatus: (handler) => {
      onStatus.add(handler);
      return () => onStatus.delete(handler);
    },
    subscribe: (channel, handler) => {
      const those = handlers.get(channel) ?? new Set();
      handlers.set(channel, those.add(handler as (message: never) => void));
      return () => those.delete(handler as (message: never) => void);
    },
    act: () => {
      throw new Error("nothing is done here");
    },
    actOnAll: () => {
      throw new Error("nothing is done here");
    },
    get: (path) => {
      asked.push(path);
      return new Promise(() => undefined);
    },
    now: () => NOW + (Date.now() - begin),
    reconnect: () => undefined,
    close: () => undefined,
  };
  return {
    client,
    asked,
    subscribers: (channel: Channel) => handlers.get(channel)?.size ?? 0,
    push: (channel: Channel, message: unknown) => {
      for (const handler of handlers.get(channel) ?? []) handler(message as never);
    },
    setStatus: (changes: Partial<Status>) => {
      status = { ...status, ...changes };
      for (const handler of onStatus) handler(status);
    },
  };
}

export function renderWith(client: FleetClient, children: ReactNode) {
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <QueryClientProvider client={queries}>
      <FleetcastProvider client={client}>{children}</FleetcastProvider>
    </QueryClientProvider>,
  );
}
