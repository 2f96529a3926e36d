/** Carries what the client receives into the Query cache, under the keys that somebody watches. No React. */

import { notifyManager, type Query, type QueryCacheNotifyEvent, type QueryClient } from "@tanstack/react-query";
import type { FleetClient, Status, Unsubscribe } from "../types.ts";
import { type Buffer, eventBuffer, messageBuffer, recordBuffer } from "./buffers.ts";
import { type LiveKey, liveKey } from "./keys.ts";
import { createPace } from "./pace.ts";

/** Going from page to page must not subscribe anew. */
const GRACE_MS = 5_000;
/** A fleet whose roster has come, and no message of any host by then, has none of this kind. */
const EMPTY_AFTER_MS = 1_000;

/** A key that is subscribed to. */
export interface Entry {
  readonly query: Query;
  readonly key: LiveKey;
  readonly buffer: Buffer;
  readonly subscribedAt: number;
  /** Messages that have come for it. */
  pushes: number;
  /** The cache has what was pushed; of events, also those before: from then on the client brings each. */
  isPrimed: boolean;
  /** Drops it; null while somebody watches it. */
  grace: ReturnType<typeof setTimeout> | null;
  /** Called when anything of it or of the connection has changed. */
  readonly onChange: Set<() => void>;
  /** False once it is subscribed to no more. */
  isKept: boolean;
  end: Unsubscribe;
}

export interface Feed {
  readonly client: FleetClient;
  entryOf(query: Query): Entry | undefined;
  /** Since when the connection is open, on the monotonic clock; null while it is not. */
  openSince(): number | null;
  stop(): void;
}

export function createFeed(client: FleetClient, queryClient: QueryClient): Feed {
  const cache = queryClient.getQueryCache();
  const entries = new Map<string, Entry>();
  const dirty = new Set<Entry>();
  const pace = createPace(flush);
  let openSince = client.status.state === "open" ? performance.now() : null;

  function review(query: Query): void {
    const key = liveKey(query.queryKey);
    if (key === null) {
      return;
    }
    const entry = entries.get(query.queryHash);
    // A record is never asked for, so that its queries are disabled: that says nothing of whether it is wanted.
    const isWatched = key.shape === "record" ? query.getObserversCount() > 0 : query.isActive();
    if (entry === undefined) {
      if (isWatched) {
        keep(query, key);
      }
    } else if (!isWatched) {
      entry.grace ??= setTimeout(() => drop(entry), GRACE_MS);
    } else if (entry.grace !== null) {
      clearTimeout(entry.grace);
      entry.grace = null;
    }
  }

  function keep(query: Query, key: LiveKey): void {
    const record = key.shape === "record" ? recordBuffer(query.state.data) : null;
    const entry: Entry = {
      query,
      key,
      buffer: record ?? (key.shape === "events" ? eventBuffer() : messageBuffer()),
      subscribedAt: performance.now(),
      pushes: 0,
      isPrimed: false,
      grace: null,
      onChange: new Set(),
      isKept: true,
      end: () => undefined,
    };
    entries.set(query.queryHash, entry);
    const ends = [client.subscribe(key.channel, (message) => take(entry, () => entry.buffer.put(message)))];
    if (record !== null) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const watchRoster = client.subscribe("hosts", (roster) => {
        timer ??= setTimeout(() => take(entry, record.allowEmpty), EMPTY_AFTER_MS);
        take(entry, () => record.putRoster(roster));
      });
      ends.push(watchRoster, () => clearTimeout(timer));
    }
    entry.end = () => {
      for (const end of ends) {
        end();
      }
    };
    askForEarlierEvents(entry);
  }

  function drop(entry: Entry): void {
    entries.delete(entry.query.queryHash);
    dirty.delete(entry);
    entry.isKept = false;
    if (entry.grace !== null) {
      clearTimeout(entry.grace);
    }
    entry.end();
    tellChange(entry);
  }

  function take(entry: Entry, put: () => void): void {
    put();
    entry.pushes += 1;
    dirty.add(entry);
    pace.soon();
  }

  function flush(): void {
    notifyManager.batch(() => {
      for (const entry of dirty) {
        write(entry);
      }
    });
  }

  function write(entry: Entry): void {
    const { query, key, buffer } = entry;
    const { data: known, fetchStatus, fetchFailureCount } = query.state;
    if (key.shape === "events" && known === undefined && fetchStatus === "fetching" && fetchFailureCount === 0) {
      pace.soon(); // What was before them comes first.
      return;
    }
    dirty.delete(entry);
    const data = buffer.into(known);
    if (data === undefined) {
      return;
    }
    if (data !== known) {
      query.setData(data, { manual: true });
    }
    entry.isPrimed ||= key.shape !== "events";
    tellChange(entry);
  }

  function followStatus({ state }: Status): void {
    const wasOpen = openSince !== null;
    openSince = state === "open" ? (openSince ?? performance.now()) : null;
    for (const entry of entries.values()) {
      if (!wasOpen && openSince !== null && !entry.isPrimed) {
        askForEarlierEvents(entry);
      }
      tellChange(entry);
    }
  }

  /** What has happened before it was subscribed, nobody pushes. */
  function askForEarlierEvents({ key, query }: Entry): void {
    if (key.shape === "events" && query.state.data !== undefined) {
      void queryClient.invalidateQueries({ queryKey: query.queryKey, exact: true });
    }
  }

  function followCache(event: QueryCacheNotifyEvent): void {
    switch (event.type) {
      case "observerAdded":
      case "observerRemoved":
      case "observerOptionsUpdated":
        review(event.query);
        break;
      case "removed": {
        const entry = entries.get(event.query.queryHash);
        if (entry !== undefined) {
          drop(entry);
        }
        break;
      }
    }
  }

  for (const query of cache.getAll()) {
    review(query);
  }
  const ends = [cache.subscribe(followCache), client.onStatus(followStatus)];

  return {
    client,
    entryOf: (query) => entries.get(query.queryHash),
    openSince: () => openSince,
    stop() {
      for (const end of ends) {
        end();
      }
      for (const entry of [...entries.values()]) {
        drop(entry);
      }
      pace.stop();
    },
  };
}

function tellChange(entry: Entry): void {
  for (const tell of [...entry.onChange]) {
    tell();
  }
}
