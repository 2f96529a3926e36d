/** The keys under which everything of a fleet lies in the Query cache. Usable on a server too. */

import type { Channel, ChannelKind } from "../types.ts";

export interface HistoryRequest {
  /** 1 to 1440. Up to 15, every sample; beyond, the mean of each minute. */
  readonly minutes: number;
  /** Both without it. */
  readonly kind?: "metrics" | "usage";
  /** An id or the beginning of one: of the usage, only this container's. */
  readonly container?: string;
  /** At most about so many rows. */
  readonly points?: number;
}

/** What is said of a host, or of all of them where it is left out. */
type OfHosts<Kind extends string> = readonly ["fleetcast", Kind] | readonly ["fleetcast", Kind, string];

export const fleetcastKeys = {
  /** The beginning of all others. */
  all: ["fleetcast"],
  hosts: () => ["fleetcast", "hosts"] as const,
  metrics: (host?: string) => ofHosts("metrics", host),
  containers: (host?: string) => ofHosts("containers", host),
  usage: (host?: string) => ofHosts("usage", host),
  processes: (host: string) => ofHosts("processes", host),
  events: (host?: string) => ofHosts("events", host),
  history: (host: string, request: HistoryRequest) => ["fleetcast", "history", host, request] as const,
  /** Of mutations. */
  actions: () => ["fleetcast", "actions"] as const,
} as const;

function ofHosts<Kind extends string>(kind: Kind, host: string | undefined): OfHosts<Kind> {
  return host === undefined ? ["fleetcast", kind] : ["fleetcast", kind, host];
}

/** What lies under a key: one message, each host's newest by its name, or a list of events. */
export type Shape = "message" | "record" | "events";

export interface LiveKey {
  readonly kind: ChannelKind;
  readonly channel: Channel;
  readonly shape: Shape;
}

/** What to subscribe to for a key; null where nothing is pushed under it. */
export function liveKey(queryKey: readonly unknown[]): LiveKey | null {
  const [first, kind, host] = queryKey;
  if (first !== "fleetcast" || !isKind(kind) || queryKey.length > 3) {
    return null;
  }
  if (queryKey.length === 2) {
    return { kind, channel: kind, shape: kind === "hosts" ? "message" : kind === "events" ? "events" : "record" };
  }
  if (kind === "hosts" || typeof host !== "string" || host === "") {
    return null;
  }
  return { kind, channel: `${kind}:${host}`, shape: kind === "events" ? "events" : "message" };
}

const KINDS: ReadonlySet<unknown> = new Set<ChannelKind>([
  "hosts",
  "metrics",
  "containers",
  "usage",
  "processes",
  "events",
]);

function isKind(value: unknown): value is ChannelKind {
  return KINDS.has(value);
}
