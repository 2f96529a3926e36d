/**
 * How the Query cache behaves under the fleet's keys, whatever the options of a query: what is pushed is not asked for,
 * and no answer replaces anything newer. Where nothing is pushed, the query's own function answers as ever.
 */

import type { Query, QueryClient, QueryPersister, StaleTime } from "@tanstack/react-query";
import type { FleetClient, Unsubscribe } from "../types.ts";
import { mergeEvents, newerOf } from "./buffers.ts";
import { createFeed, type Entry, type Feed } from "./feed.ts";
import { fleetcastKeys } from "./keys.ts";

/** A key without data is asked for where its push has not come by then. */
const PUSHED_WITHIN_MS = 2_000;
/** By then an edge has read what it was asked to push: whatever happens from then on comes. */
const SUBSCRIBED_WITHIN_MS = 300;

const feeds = new WeakMap<QueryClient, Feed>();
const persisters = new WeakMap<QueryClient, QueryPersister>();

/** Sets the defaults of the fleet's keys. To be called before anything is rendered that uses them; twice is as once. */
export function prepareCache(queryClient: QueryClient): void {
  const existing = queryClient.getQueryDefaults(fleetcastKeys.all);
  if (existing.persister !== undefined && existing.persister === persisters.get(queryClient)) {
    return;
  }
  // Its place in a query is the right one: it is called instead of queryFn, and is given that.
  const persister: QueryPersister = (queryFn, context, query) => answer(queryClient, query, () => queryFn(context));
  persisters.set(queryClient, persister);
  queryClient.setQueryDefaults(fleetcastKeys.all, {
    ...existing,
    persister,
    // To compare what is new each second costs more than it saves: it is the very object where nothing is new.
    structuralSharing: false,
    staleTime: (query) => {
      const feed = feeds.get(queryClient);
      const entry = feed?.entryOf(query);
      return feed !== undefined && entry !== undefined && isLive(feed, entry)
        ? Number.POSITIVE_INFINITY
        : usualStaleTime(queryClient, existing, query);
    },
  });
}

/** Throws where the QueryClient has a feed already. */
export function startFeed(client: FleetClient, queryClient: QueryClient): Unsubscribe {
  if (feeds.has(queryClient)) {
    throw new Error("a QueryClient takes one FleetcastProvider at a time");
  }
  const feed = createFeed(client, queryClient);
  feeds.set(queryClient, feed);
  return () => {
    feeds.delete(queryClient);
    feed.stop();
  };
}

/** Whether pushes keep up now what the cache has. */
function isLive(feed: Feed, { isPrimed, query }: Entry): boolean {
  return isPrimed && isOpen(feed) && query.state.data !== undefined;
}

function usualStaleTime(queryClient: QueryClient, existing: QueryDefaults, query: Query): StaleTime {
  const usual = existing.staleTime ?? queryClient.getDefaultOptions().queries?.staleTime ?? 0;
  return typeof usual === "function" ? usual(query) : usual;
}

type QueryDefaults = ReturnType<QueryClient["getQueryDefaults"]>;
type Ask = () => unknown;

function answer(queryClient: QueryClient, query: Query, ask: Ask): unknown {
  const feed = feeds.get(queryClient);
  const entry = feed?.entryOf(query);
  if (feed === undefined || entry === undefined) {
    return ask();
  }
  // The provider may be mounted again meanwhile, with another feed: React's strict mode does so.
  const again = () => answer(queryClient, query, ask);
  return entry.key.shape === "events" ? answerEvents(feed, entry, ask, again) : answerState(feed, entry, ask, again);
}

async function answerState(feed: Feed, entry: Entry, ask: Ask, again: Ask): Promise<unknown> {
  const { query, key } = entry;
  await waitWhile(feed, entry, () => !entry.isPrimed && (isOpen(feed) || isFirstComing(feed, entry)));
  if (!entry.isKept) {
    return again();
  }
  if (isLive(feed, entry)) {
    return query.state.data;
  }
  const pushesBefore = entry.pushes;
  const came = await ask();
  const hasNumber = key.shape === "message" && key.kind !== "hosts";
  if (!hasNumber && entry.pushes > pushesBefore && query.state.data !== undefined) {
    return query.state.data; // It has come after this was asked for.
  }
  return newerOf(query.state.data, came);
}

/** What has happened before the first that was pushed must be asked for, and only once it is being pushed. */
async function answerEvents(feed: Feed, entry: Entry, ask: Ask, again: Ask): Promise<unknown> {
  const { query } = entry;
  await waitWhile(feed, entry, () => isFirstComing(feed, entry));
  if (!entry.isKept) {
    return again();
  }
  if (isLive(feed, entry)) {
    return query.state.data;
  }
  for (;;) {
    const openSince = feed.openSince();
    if (openSince !== null) {
      await waitUntil(Math.max(openSince, entry.subscribedAt) + SUBSCRIBED_WITHIN_MS);
    }
    const came = await ask();
    if (openSince === null && isOpen(feed)) {
      continue; // It was opened after the answer: something may have happened in between.
    }
    entry.isPrimed ||= openSince !== null;
    return Array.isArray(came) ? mergeEvents(query.state.data, came) : came;
  }
}

function isOpen(feed: Feed): boolean {
  return feed.openSince() !== null;
}

/** Whether the connection is on its way that will bring the first data. */
function isFirstComing({ client }: Feed, { query }: Entry): boolean {
  return client.status.state === "connecting" && query.state.data === undefined;
}

/** Not beyond PUSHED_WITHIN_MS from when it could have come, nor the entry's end. */
function waitWhile(feed: Feed, entry: Entry, isWorthIt: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const until = Math.max(entry.subscribedAt, feed.openSince() ?? 0) + PUSHED_WITHIN_MS;
    const timer = setTimeout(finish, until - performance.now());
    entry.onChange.add(look);
    look();

    function look(): void {
      if (!entry.isKept || !isWorthIt()) {
        finish();
      }
    }

    function finish(): void {
      clearTimeout(timer);
      entry.onChange.delete(look);
      resolve();
    }
  });
}

function waitUntil(at: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, at - performance.now()));
}
