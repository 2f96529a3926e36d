/** Words for where an action stands. Pure; success is a word only for what the executor called so. */

import { duration } from "../lib/format.ts";
import { doing, done } from "../lib/verbs.ts";
import type { Tracked } from "./store.ts";
import { VERB_LABEL, VERB_NOOP } from "./verb.ts";

export interface Told {
  readonly tone: "busy" | "ok" | "bad" | "warn";
  /** A few words, for the row. */
  readonly short: string;
  /** A sentence or two, and what to do about it. */
  readonly full: string;
}

export function explain(action: Tracked): Told {
  const { verb, name, host } = action;
  const what = `${VERB_LABEL[verb]} of ${name} on ${host}`;
  switch (action.stage) {
    case "queued":
      return {
        tone: "busy",
        short: "waits to be sent",
        full: `${what}: waits to be sent, for an edge takes so many at a time.`,
      };
    case "sent":
      return { tone: "busy", short: "sent", full: `${what}: sent, no answer yet.` };
    case "accepted":
      return { tone: "busy", short: "accepted", full: `${what}: accepted, waits for its turn on the host.` };
    case "running":
      return { tone: "busy", short: `${doing(verb)}…`, full: `${what}: Docker is being asked just now.` };
    case "succeeded":
      return succeeded(action, what);
    case "failed":
      return { tone: "bad", short: "failed", full: `${what} failed. ${sentence("Docker says", action.error)}` };
    case "expired":
      return {
        tone: "warn",
        short: "expired",
        full: `${what} was not begun before its deadline, and will not be.${tail(action.error)}`,
      };
    case "rejected":
      return { tone: "bad", short: "refused", full: `${what} was refused and not done. ${refusal(action)}` };
    case "unknown":
      return {
        tone: "warn",
        short: "unknown",
        full: `${what}: the executor cannot tell whether it happened. Look before you try again.${tail(action.error)}`,
      };
  }
}

/** The executor's pace: half a second matters, half a minute's milliseconds do not. */
export function took(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

export function isFinal(stage: Tracked["stage"]): boolean {
  return stage !== "queued" && stage !== "sent" && stage !== "accepted" && stage !== "running";
}

function succeeded({ verb, noop, durationMs }: Tracked, what: string): Told {
  if (noop) return { tone: "ok", short: VERB_NOOP[verb], full: `${what}: ${VERB_NOOP[verb]}.` };
  const time = durationMs === null ? "" : ` in ${took(durationMs)}`;
  return { tone: "ok", short: `${done(verb)}${time}`, full: `${what}: ${done(verb)}${time}.` };
}

function refusal({ code, error }: Tracked): string {
  if (code === "rate-limited") return "There were too many actions at once: try again in a few seconds.";
  if (error?.startsWith("expected ")) return `The container is not as you saw it: ${stopped(error)}`;
  return sentence("Because", error);
}

function sentence(lead: string, error: string | null): string {
  return error === null || error === "" ? "No reason was given." : `${lead}: ${stopped(error)}`;
}

function tail(error: string | null): string {
  return error === null || error === "" ? "" : ` (${error})`;
}

function stopped(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
