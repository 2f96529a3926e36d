/** The verbs and their words. */

import type { Container } from "@fleetcast/client";
import type { Verb } from "../lib/verbs.ts";
import type { IconName } from "../ui/Icon.tsx";

/** A container as it was on the screen when somebody chose it. */
export interface Chosen {
  readonly host: string;
  readonly container: Container;
}

/** As they stand in bars and menus: what is used most first, what cannot be undone last. */
export const MENU_ORDER: readonly Verb[] = ["start", "stop", "restart", "pause", "unpause", "kill", "remove"];

export const VERB_LABEL: Readonly<Record<Verb, string>> = {
  start: "Start",
  stop: "Stop",
  restart: "Restart",
  kill: "Kill",
  pause: "Pause",
  unpause: "Unpause",
  remove: "Remove",
};

export const VERB_ICON: Readonly<Record<Verb, IconName>> = {
  start: "play",
  stop: "stop",
  restart: "restart",
  kill: "skull",
  pause: "pause",
  unpause: "play",
  remove: "trash",
};

/** On a row that has the focus. */
export const VERB_KEY: Partial<Readonly<Record<Verb, string>>> = { start: "s", stop: "s", unpause: "s", restart: "r" };

/** What the first button does: end it where it runs, else have it run. */
export function toggleOf({ state }: Pick<Container, "state">): Verb {
  if (state === "paused") return "unpause";
  return state === "running" || state === "restarting" ? "stop" : "start";
}

/** What a verb found that had nothing to do. */
export const VERB_NOOP: Readonly<Record<Verb, string>> = {
  start: "was running already",
  stop: "was stopped already",
  restart: "nothing had to be done",
  kill: "was stopped already",
  pause: "was paused already",
  unpause: "was not paused",
  remove: "was gone already",
};

/** What it does, for whoever is asked whether they mean it. */
export const VERB_MEANS: Readonly<Record<Verb, string>> = {
  start: "It will run.",
  stop: "It gets SIGTERM and, after its grace period, SIGKILL. It stays stopped until somebody starts it.",
  restart: "It is stopped and started again: what it serves is away for a moment.",
  kill: "It gets SIGKILL at once and cannot save or finish anything.",
  pause: "Its processes are frozen: it answers nobody until it is unpaused.",
  unpause: "Its processes go on.",
  remove: "The container and what it has written outside of its volumes are deleted. This cannot be undone.",
};

const DANGEROUS: ReadonlySet<Verb> = new Set<Verb>(["stop", "restart", "kill", "pause", "remove"]);

/** So many at once are asked about whatever the verb. */
const MANY = 10;

export function isDangerous(verb: Verb): boolean {
  return DANGEROUS.has(verb);
}

export function needsAsking(verb: Verb, count: number): boolean {
  return isDangerous(verb) || count > MANY;
}

/** What must be typed before it may be done; null where a button is enough. */
export function toType(verb: Verb, count: number): string | null {
  return count > 1 && (verb === "remove" || verb === "kill") ? String(count) : null;
}
