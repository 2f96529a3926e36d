/** What has come for a key and is not in the cache yet, and what the cache has with it. Pure: no timers, no React. */

import type { StateMessage } from "../types.ts";
import type { EventMessage, HostsMessage } from "../wire.ts";

/** Events under one key: the newest ones. */
export const MOST_EVENTS = 500;

export interface Buffer {
  put(message: unknown): void;
  /** Empties it: the key's data with what was in it; the same object where nothing changes; undefined for none yet. */
  into(data: unknown): unknown;
}

/** Of one message: the newest. */
export function messageBuffer(): Buffer {
  let pending: unknown;
  return {
    put(message) {
      pending = message;
    },
    into(data) {
      const newest = pending === undefined ? data : newerOf(data, pending);
      pending = undefined;
      return newest;
    },
  };
}

export interface RecordBuffer extends Buffer {
  /** Hosts that are not in it have left: their messages go. */
  putRoster(roster: HostsMessage): void;
  /** From now on the record may be empty: nobody waits for its first message any more. */
  allowEmpty(): void;
}

/** Of each host's newest message by its name. It goes on from `data`, what is in the cache as it begins. */
export function recordBuffer(data: unknown): RecordBuffer {
  const newest = new Map<string, unknown>(typeof data === "object" && data !== null ? Object.entries(data) : []);
  let roster: ReadonlySet<string> | null = null;
  let mayBeEmpty = false;
  let changed = false;
  return {
    put(message) {
      const { host } = message as StateMessage;
      newest.set(host, newerOf(newest.get(host), message));
      changed = true;
    },
    putRoster({ hosts }) {
      roster = new Set(hosts.map((status) => status.host));
      for (const host of newest.keys()) {
        if (!roster.has(host)) {
          newest.delete(host);
        }
      }
      mayBeEmpty ||= roster.size === 0;
      changed = true;
    },
    allowEmpty() {
      mayBeEmpty = true;
      changed = true;
    },
    into(data) {
      // A host that is not in the roster yet will be in the next one: it waits here.
      const shown = [...newest].filter(([host]) => roster?.has(host) ?? true);
      if (!changed || (shown.length === 0 && data === undefined && !mayBeEmpty)) {
        return data;
      }
      changed = false;
      return Object.fromEntries(shown);
    },
  };
}

/** Of events: all in order, the newest 500. */
export function eventBuffer(): Buffer {
  let pending: EventMessage[] = [];
  return {
    put(message) {
      pending.push(message as EventMessage);
      if (pending.length > 2 * MOST_EVENTS) {
        pending = pending.slice(-MOST_EVENTS);
      }
    },
    into(data) {
      const merged = pending.length === 0 ? data : mergeEvents(data, pending);
      pending = [];
      return merged;
    },
  };
}

/** The newer of two states of a host by epoch and seq. What cannot be compared gives way to what came later. */
export function newerOf(known: unknown, came: unknown): unknown {
  if (!isState(known) || !isState(came) || known.host !== came.host) {
    return came;
  }
  const isNewer = came.epoch === known.epoch ? came.seq > known.seq : came.epoch > known.epoch;
  return isNewer ? came : known;
}

function isState(value: unknown): value is StateMessage {
  return typeof value === "object" && value !== null && "epoch" in value && "seq" in value && "host" in value;
}

/** Each event once, in the order in which they happened, the newest 500; `known` itself where nothing is new. */
export function mergeEvents(known: unknown, came: readonly EventMessage[]): unknown {
  const before: readonly EventMessage[] = Array.isArray(known) ? known : [];
  const seen = new Set(before.map(identity));
  const more = came.filter((event) => {
    const id = identity(event);
    return !seen.has(id) && seen.add(id);
  });
  if (more.length === 0 && Array.isArray(known)) {
    return known;
  }
  return [...before, ...more].sort((a, b) => a.at - b.at).slice(-MOST_EVENTS);
}

function identity({ host, containerId, at, from, to, health }: EventMessage): string {
  return `${host} ${containerId} ${at} ${from} ${to} ${health ?? null}`;
}
