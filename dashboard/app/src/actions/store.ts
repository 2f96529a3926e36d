/**
 * What this page has asked for, and where each stands: one entry a container. Kept outside of React, so that it outlives
 * the row that it was asked from, and bounded: of those that are settled the oldest are forgotten.
 */

import type { FinalStatus, Outcome } from "@fleetcast/client";
import { useCallback, useSyncExternalStore } from "react";
import type { Verb } from "../lib/verbs.ts";
import { isFinal } from "./explain.ts";

/** `queued`: this page holds it back for now; `sent`: nothing has come back yet. */
export type StageName = "queued" | "sent" | "accepted" | "running" | FinalStatus;

export interface Tracked {
  readonly key: string;
  readonly requestId: string;
  /** Which of a bulk's targets. */
  readonly target: number | null;
  /** What was ordered together; null for one container alone. */
  readonly bulk: string | null;
  readonly verb: Verb;
  readonly host: string;
  readonly containerId: string;
  readonly name: string;
  readonly stage: StageName;
  /** When it came to this stage, on Redis' clock, ms. */
  readonly at: number;
  readonly error: string | null;
  readonly code: Outcome["code"];
  readonly durationMs: number | null;
  readonly noop: boolean;
  /** Seen enough of: no longer shown in place. */
  readonly dismissed: boolean;
}

export type Progress = Pick<Tracked, "stage" | "at"> & Partial<Pick<Tracked, "error" | "code" | "durationMs" | "noop">>;

export interface ActionStore {
  subscribe(onChange: () => void): () => void;
  /** Newest first; the same object until one of them has changed. */
  of(host: string, containerId: string): readonly Tracked[];
  /** Newest first. */
  recent(): readonly Tracked[];
  add(actions: readonly Tracked[]): void;
  /** A stage never goes back: what comes late is left out. */
  progress(key: string, progress: Progress): void;
  dismiss(keys: readonly string[]): void;
  underWay(host: string, containerId: string, verb: Verb): boolean;
}

/** Settled ones that are kept. What is under way is bounded by what one may choose at once (submit.ts). */
export const MAX_SETTLED = 200;

const NONE: readonly Tracked[] = [];
const ORDER: readonly StageName[] = ["queued", "sent", "accepted", "running"];

export function createActionStore(maxSettled = MAX_SETTLED): ActionStore {
  const byKey = new Map<string, Tracked>();
  const byContainer = new Map<string, readonly Tracked[]>();
  const listeners = new Set<() => void>();
  let recent: readonly Tracked[] | null = null;

  const index = (places: ReadonlySet<string>) => {
    recent = null;
    const found = new Map<string, Tracked[]>();
    for (const action of byKey.values()) {
      const place = placeOf(action);
      if (places.has(place)) found.set(place, [action, ...(found.get(place) ?? NONE)]);
    }
    for (const place of places) {
      const there = found.get(place);
      if (there) byContainer.set(place, there);
      else byContainer.delete(place);
    }
    for (const listener of listeners) listener();
  };

  const change = (action: Tracked) => {
    byKey.set(action.key, action);
    const place = placeOf(action);
    byContainer.set(
      place,
      (byContainer.get(place) ?? NONE).map((other) => (other.key === action.key ? action : other)),
    );
    recent = null;
  };

  /** The newest order of several stays whole: its list is being looked at. */
  const forget = (): readonly Tracked[] => {
    const all = [...byKey.values()];
    const shown = all.findLast((action) => action.bulk !== null)?.bulk ?? null;
    const settled = all.filter((action) => isFinal(action.stage) && (action.bulk === null || action.bulk !== shown));
    const old = settled.slice(0, Math.max(0, settled.length - maxSettled));
    for (const action of old) byKey.delete(action.key);
    return old;
  };

  return {
    subscribe(onChange) {
      listeners.add(onChange);
      return () => listeners.delete(onChange);
    },
    of: (host, containerId) => byContainer.get(`${host}/${containerId}`) ?? NONE,
    recent() {
      recent ??= [...byKey.values()].reverse();
      return recent;
    },
    add(actions) {
      for (const action of actions) byKey.set(action.key, action);
      index(new Set([...actions, ...forget()].map(placeOf)));
    },
    progress(key, progress) {
      const action = byKey.get(key);
      if (action === undefined || isFinal(action.stage)) return;
      if (!isFinal(progress.stage) && ORDER.indexOf(progress.stage) <= ORDER.indexOf(action.stage)) return;
      // Put away while it was under way, it comes back with bad news.
      const dismissed = action.dismissed && (progress.stage === "succeeded" || !isFinal(progress.stage));
      change({ ...action, ...progress, dismissed });
      for (const listener of listeners) listener();
    },
    dismiss(keys) {
      for (const key of keys) {
        const action = byKey.get(key);
        if (action !== undefined && !action.dismissed) change({ ...action, dismissed: true });
      }
      for (const listener of listeners) listener();
    },
    underWay: (host, containerId, verb) =>
      (byContainer.get(`${host}/${containerId}`) ?? NONE).some(
        (action) => action.verb === verb && !isFinal(action.stage),
      ),
  };
}

/** This page's. */
export const actionStore = createActionStore();

/** What was asked of one container, newest first. */
export function useActionsOf(host: string, containerId: string): readonly Tracked[] {
  return useSyncExternalStore(
    actionStore.subscribe,
    useCallback(() => actionStore.of(host, containerId), [host, containerId]),
  );
}

/** What was asked on this page, newest first. */
export function useRecentActions(): readonly Tracked[] {
  return useSyncExternalStore(actionStore.subscribe, actionStore.recent);
}

function placeOf(action: Tracked): string {
  return `${action.host}/${action.containerId}`;
}
