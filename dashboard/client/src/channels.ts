/** Channels: which ones have to be subscribed to so that all who want something get it. Pure. */

import { FleetcastError } from "./errors.ts";
import type { Channel, ChannelKind } from "./types.ts";

const KINDS: ReadonlySet<string> = new Set<ChannelKind>([
  "metrics",
  "containers",
  "usage",
  "processes",
  "events",
  "hosts",
]);
const HOST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** What an edge takes from a client by default (FLEETCAST_MAX_SUBSCRIPTIONS). */
export const MOST_SUBSCRIPTIONS = 1_000;

/** Of one message: well below the 64 KiB that an edge reads. */
export const MOST_IN_A_MESSAGE = 500;

export function kindOf(channel: Channel): ChannelKind {
  return channel.split(":", 1)[0] as ChannelKind;
}

/** The host of `metrics:web-1`; null where it is every host. */
export function hostOf(channel: Channel): string | null {
  const separator = channel.indexOf(":");
  return separator < 0 ? null : channel.slice(separator + 1);
}

/** An edge subscribes to nothing of a message that has one wrong name: so none is let through. */
export function checkChannel(channel: string): Channel {
  const [kind = "", host, ...rest] = channel.split(":");
  const isRight =
    KINDS.has(kind) && rest.length === 0 && (host === undefined || (kind !== "hosts" && HOST_ID.test(host)));
  if (!isRight) throw new FleetcastError(`no such channel: ${channel.slice(0, 100)}`, null, "unknown-channel");
  return channel as Channel;
}

/**
 * What to subscribe to for these: a host's channel not where its kind's alone is there too; and where they are too many,
 * or too long all together, the kind alone instead of its hosts.
 */
export function needed(wanted: Iterable<Channel>, most = MOST_SUBSCRIPTIONS, mostChars = Infinity): readonly Channel[] {
  let channels = withoutCovered([...new Set(wanted)]);
  while (channels.length > most || lengthOf(channels) > mostChars) {
    const widest = mostHosts(channels);
    if (widest === null) return channels;
    channels = withoutCovered([...channels, widest]);
  }
  return channels;
}

function withoutCovered(channels: readonly Channel[]): readonly Channel[] {
  const wide = new Set<string>(channels.filter((channel) => hostOf(channel) === null));
  return channels.filter((channel) => hostOf(channel) === null || !wide.has(kindOf(channel)));
}

function lengthOf(channels: readonly Channel[]): number {
  return channels.reduce((sum, channel) => sum + channel.length + 1, 0);
}

function mostHosts(channels: readonly Channel[]): ChannelKind | null {
  const counts = new Map<ChannelKind, number>();
  for (const channel of channels) {
    if (hostOf(channel) !== null) counts.set(kindOf(channel), (counts.get(kindOf(channel)) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? null;
}

/** By host; those of every host are one group. */
export function groupedByHost(channels: readonly Channel[]): readonly (readonly Channel[])[] {
  const groups = new Map<string | null, Channel[]>();
  for (const channel of channels) {
    const group = groups.get(hostOf(channel));
    if (group === undefined) groups.set(hostOf(channel), [channel]);
    else group.push(channel);
  }
  return [...groups.values()];
}

export function chunks<T>(all: readonly T[], most: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, i) => all.slice(i * most, (i + 1) * most));
}
