/** Finds a dead connection by the heartbeats that do not come. */

import type { Timers } from "./timers.ts";
import type { Environment } from "./types.ts";

export const BEATS_MISSED = 2.5;

/** A timer that is later than this was held back: the page was hidden, or the machine asleep. */
const LATE_MS = 1_000;

export interface Beat {
  readonly intervalMs: number;
  /** So long the other end has for a sign of life where it is asked for one. */
  readonly answerWithinMs: number;
}

export type Judgement =
  | { readonly is: "alive"; readonly lookAt: number }
  /** Nothing was heard, but nobody was listening: ask, and look again. */
  | { readonly is: "unsure"; readonly lookAt: number }
  | { readonly is: "dead" };

export interface Signs extends Beat {
  readonly heardAt: number;
  /** When this look was meant to be. */
  readonly dueAt: number;
  /** When it was asked for a sign of life, after `heardAt`; null where it was not. */
  readonly askedAt: number | null;
}

/** Pure. */
export function judge(signs: Signs, now: number): Judgement {
  const deadline =
    signs.askedAt === null || signs.askedAt < signs.heardAt
      ? signs.heardAt + BEATS_MISSED * signs.intervalMs
      : signs.askedAt + signs.answerWithinMs;
  if (now < deadline) return { is: "alive", lookAt: deadline };
  return now - signs.dueAt > LATE_MS ? { is: "unsure", lookAt: now + signs.answerWithinMs } : { is: "dead" };
}

export interface Watch {
  heard(): void;
  /** Asks now: it answers soon, or is dead. */
  check(): void;
  stop(): void;
}

/** `ask` sends what the other end answers at once. `dead` is called once. */
export function watch(
  environment: Pick<Environment, "now">,
  timers: Timers,
  beat: Beat,
  ask: () => void,
  dead: () => void,
): Watch {
  let heardAt = environment.now();
  let askedAt: number | null = null;
  let cancel = lookAt(heardAt + BEATS_MISSED * beat.intervalMs);

  function lookAt(dueAt: number): () => void {
    return timers.after(dueAt - environment.now(), () => look(dueAt));
  }

  function look(dueAt: number): void {
    const now = environment.now();
    const judgement = judge({ ...beat, heardAt, dueAt, askedAt }, now);
    if (judgement.is === "dead") {
      dead();
      return;
    }
    if (judgement.is === "unsure") {
      askedAt = now;
      ask();
    }
    cancel = lookAt(judgement.lookAt);
  }

  return {
    heard() {
      heardAt = environment.now();
      askedAt = null;
    },
    check() {
      if (askedAt !== null) return;
      askedAt = environment.now();
      ask();
      cancel();
      cancel = lookAt(askedAt + beat.answerWithinMs);
    },
    stop: () => cancel(),
  };
}
