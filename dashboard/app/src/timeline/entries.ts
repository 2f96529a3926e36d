/** Events and actions in one list, the newest first, each thing once. Pure. */

import type { ActionRecord, EventMessage } from "@fleetcast/client";
import { day } from "../lib/format.ts";
import { foldEvents, groupWords } from "./fold.ts";
import { actionWords, causedWords, type Kind, steps, type Words } from "./words.ts";

export interface Entry {
  /** The same for as long as it is about the same thing. */
  readonly key: string;
  readonly at: number;
  readonly host: string;
  readonly containerId: string;
  /** The container's; the beginning of its id where its name is not known. */
  readonly name: string;
  readonly words: Words;
  /** Who ordered it; null where no action of ours has made it: the container itself, or somebody at the engine. */
  readonly actor: string | null;
  /** More of it, "running → exited (0) → running"; empty where there is no more. */
  readonly detail: string;
}

/** An action that is known otherwise than by its events: of the audit, or of this page. */
export type KnownAction = Pick<
  ActionRecord,
  | "requestId"
  | "target"
  | "host"
  | "containerId"
  | "name"
  | "action"
  | "actor"
  | "status"
  | "at"
  | "error"
  | "noop"
  | "durationMs"
>;

/**
 * `events` oldest first. The events of one action are told with it, under the name that the action had: a restart is one
 * entry, not three. Of an action that is named twice, the first counts.
 */
export function mergeEntries(events: readonly EventMessage[], actions: readonly KnownAction[]): readonly Entry[] {
  const caused = new Map<string, EventMessage[]>();
  const uncaused: EventMessage[] = [];
  for (const event of events) {
    if (event.cause === "docker") uncaused.push(event);
    else push(caused, actionKey(event.cause.requestId, event.cause.target, event.host), event);
  }
  const entries: Entry[] = foldEvents(uncaused).flatMap(eventEntry);
  const told = new Set<string>();
  for (const action of actions) {
    const key = actionKey(action.requestId, action.target, action.host);
    if (told.has(key)) continue;
    told.add(key);
    entries.push(actionEntry(key, action, caused.get(key) ?? []));
  }
  for (const [key, group] of caused) {
    if (!told.has(key)) entries.push(...causedEntry(key, group));
  }
  return entries.sort((one, other) => other.at - one.at || (one.key < other.key ? 1 : -1));
}

export interface Filter {
  readonly host: string;
  readonly kind: Kind | "";
  readonly text: string;
}

/** What a filter lets through; empty parts of it let everything through, and every word of its text has to be there. */
export function filterEntries(entries: readonly Entry[], { host, kind, text }: Filter): readonly Entry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (host === "" && kind === "" && words.length === 0) return entries;
  return entries.filter((entry) => {
    if (host !== "" && entry.host !== host) return false;
    if (kind !== "" && entry.words.kind !== kind) return false;
    const said = `${entry.name} ${entry.host} ${entry.words.text} ${entry.containerId}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
}

export type Row =
  | { readonly type: "day"; readonly key: string; readonly label: string }
  | {
      readonly type: "entry";
      readonly key: string;
      readonly entry: Entry;
      /** The first of its minute: the others leave hour and minute to it. */
      readonly opensMinute: boolean;
    };

/** Entries, newest first, under their days. */
export function rowsOf(entries: readonly Entry[], now: number): readonly Row[] {
  const rows: Row[] = [];
  let label = "";
  let minute = Number.NaN;
  for (const entry of entries) {
    const its = day(entry.at, now);
    if (its !== label) {
      label = its;
      minute = Number.NaN;
      rows.push({ type: "day", key: `day ${label}`, label });
    }
    const itsMinute = Math.floor(entry.at / 60_000);
    rows.push({ type: "entry", key: entry.key, entry, opensMinute: itsMinute !== minute });
    minute = itsMinute;
  }
  return rows;
}

function eventEntry(group: readonly EventMessage[]): readonly Entry[] {
  const [first] = group;
  const last = group.at(-1);
  const words = groupWords(group);
  if (first === undefined || last === undefined || words === null) return [];
  const { host, name } = last;
  const key = `${host}/${first.containerId}/${first.at}/${first.from}/${first.to}/${first.health ?? ""}`;
  const detail = group.length > 1 && first.from !== null ? steps(group) : "";
  return [{ key, at: last.at, host, containerId: last.containerId, name, words, actor: null, detail }];
}

function actionEntry(key: string, action: KnownAction, events: readonly EventMessage[]): Entry {
  return {
    key,
    at: events.at(-1)?.at ?? action.at,
    host: action.host,
    containerId: action.containerId,
    name: action.name || events.at(-1)?.name || action.containerId.slice(0, 12),
    words: actionWords(action, action.actor),
    actor: action.actor,
    detail: steps(events),
  };
}

function causedEntry(key: string, events: readonly EventMessage[]): readonly Entry[] {
  const last = events.at(-1);
  if (last === undefined || last.cause === "docker") return [];
  const entry = {
    key,
    at: last.at,
    host: last.host,
    containerId: last.containerId,
    name: last.name,
    words: causedWords(last.cause.action, last.cause.actor),
    actor: last.cause.actor,
    detail: steps(events),
  };
  return [entry];
}

function actionKey(requestId: string, target: number | null | undefined, host: string): string {
  return `${requestId}/${target ?? ""}/${host}`;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
