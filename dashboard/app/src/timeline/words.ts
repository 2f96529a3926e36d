/** What happened, in words. Pure. The container's name stands before them: "redis-1 on web-2" + "exited (137)…". */

import type { ActionRecord, EventMessage } from "@fleetcast/client";
import { duration } from "../lib/format.ts";
import { done, type Verb } from "../lib/verbs.ts";
import type { Tone } from "../ui/StatusDot.tsx";

export type Kind = "crash" | "health" | "action" | "lifecycle";

export interface Words {
  readonly kind: Kind;
  readonly tone: Tone;
  /** "exited (137), out of memory". */
  readonly text: string;
}

/** Where an action of somebody's stands: the audit's record, or what this page knows of it. */
export type Settled = Pick<ActionRecord, "action" | "status" | "error" | "noop" | "durationMs">;

/** A transition that no action of ours has made. */
export function eventWords(event: EventMessage): Words {
  const { from, to, health } = event;
  if (to === null) return lifecycle(from === "running" ? "was removed while it ran" : "was removed");
  if (from === to) return healthWords(health ?? null);
  if (to === "exited" || to === "dead") return ended(event);
  switch (to) {
    case "created":
      return lifecycle("was created");
    case "running":
      return { kind: "lifecycle", tone: "ok", text: STARTED[from ?? "none"] ?? "started" };
    case "paused":
      return { kind: "lifecycle", tone: "warn", text: "was paused" };
    case "restarting": {
      const run = ended(event);
      return { ...run, text: `${run.text}, restarting` };
    }
    case "removing":
      return lifecycle("is being removed");
  }
}

const STARTED: Readonly<Record<string, string>> = {
  none: "appeared, running",
  paused: "was unpaused",
  restarting: "is running again",
  exited: "started again",
};

function healthWords(health: EventMessage["health"] | null): Words {
  switch (health) {
    case "unhealthy":
      return { kind: "health", tone: "bad", text: "is unhealthy" };
    case "healthy":
      return { kind: "health", tone: "ok", text: "is healthy" };
    case "starting":
      return { kind: "health", tone: "muted", text: "is having its health checked" };
    default:
      return { kind: "health", tone: "muted", text: "has no health check any more" };
  }
}

/** A run's end. 128 + n is signal n; the usual ways to ask for an end are no crash. */
function ended({ to, exitCode, oomKilled }: EventMessage): Words {
  const code = exitCode ?? null;
  const word = to === "dead" ? "is dead" : "exited";
  const text = code === null ? word : `${word} (${code})`;
  if (oomKilled) return { kind: "crash", tone: "bad", text: `${text}, out of memory` };
  if (to === "dead") return { kind: "crash", tone: "bad", text };
  if (code === null || code === 0) return lifecycle(text);
  const signal = SIGNALS[code];
  if (signal) return { ...signal, text: `${text}, ${signal.text}` };
  return { kind: "crash", tone: "bad", text };
}

const SIGNALS: Readonly<Record<number, Words>> = {
  129: { kind: "lifecycle", tone: "muted", text: "hung up" },
  130: { kind: "lifecycle", tone: "muted", text: "interrupted" },
  134: { kind: "crash", tone: "bad", text: "aborted" },
  137: { kind: "crash", tone: "bad", text: "killed" },
  139: { kind: "crash", tone: "bad", text: "segmentation fault" },
  143: { kind: "lifecycle", tone: "muted", text: "terminated" },
};

/** What became of an action: "restarted by ops", "kill rejected: this host does not allow kill". */
export function actionWords(action: Settled, actor: string): Words {
  const verb = action.action;
  const because = action.error ? `: ${action.error}` : "";
  switch (action.status) {
    case "succeeded":
      return action.noop
        ? said("muted", `${verb} by ${actor}: nothing to do, it was so already`)
        : said("ok", `${done(verb)} by ${actor}${took(action)}`);
    case "failed":
      return said("bad", `${verb} by ${actor} failed${because}`);
    case "rejected":
      return said("bad", `${verb} by ${actor} rejected${because}`);
    case "expired":
      return said("warn", `${verb} by ${actor} expired, it has not happened${because}`);
    case "unknown":
      return said("warn", `${verb} by ${actor}: nobody can tell whether it happened${because}`);
    case "accepted":
      return said("muted", `${verb} by ${actor} waits for its turn`);
    case "running":
      return said("muted", `${verb} by ${actor} is being done`);
  }
}

/** What the events of an action tell of it, where its record is not for this user's eyes. */
export function causedWords(verb: Verb, actor: string): Words {
  return said("ok", `${done(verb)} by ${actor}`);
}

/** The steps of an action: "running → exited (0) → running"; empty for fewer than one. */
export function steps(events: readonly EventMessage[]): string {
  const [first] = events;
  if (first === undefined) return "";
  const states = events.map(({ to, exitCode }) => {
    if (to === null) return "removed";
    return exitCode === undefined || exitCode === null ? to : `${to} (${exitCode})`;
  });
  return [first.from ?? "nothing", ...states].join(" → ");
}

function took({ durationMs }: Settled): string {
  return durationMs === undefined ? "" : ` in ${duration(durationMs)}`;
}

function lifecycle(text: string): Words {
  return { kind: "lifecycle", tone: "muted", text };
}

function said(tone: Tone, text: string): Words {
  return { kind: "action", tone, text };
}
