/** Hands out the events that came while there was no connection, before those that come now. */

import type { Http } from "./http.ts";
import { eventPaths, eventsOf } from "./last_events.ts";
import { afterError } from "./probe.ts";
import type { Timers } from "./timers.ts";
import type { Channel } from "./types.ts";
import type { EventMessage } from "./wire.ts";

const WITHIN_MS = 5_000;
const MOST_HELD = 1_000;

const MISSING = "Events of the time without a connection are missing";

/** When somebody noticed and when it happened are two things; what is known already is not handed out again. */
const MARGIN_MS = 10_000;

/** An edge that has just begun hears its first events a moment after it has subscribed a client to them. */
const AGAIN_AFTER_MS = 3_000;

export interface CatchUp {
  /** There is no connection any more, since then on Redis' clock. */
  lost(at: number): void;
  /** Since when events may be missing; null where none are. */
  readonly since: number | null;
  /** There is one again: events are held back until `fetch` is through. */
  hold(): void;
  /** From here on nothing is missed: asks for what is. */
  fetch(channels: () => readonly Channel[]): void;
  /** Nothing is to be asked for. */
  release(): void;
  /** False where the event is held back. */
  passes(event: EventMessage): boolean;
}

/** `complain` where what is missing cannot be had. */
export function createCatchUp(
  http: Http,
  timers: Timers,
  handOut: (event: EventMessage) => void,
  complain: (message: string) => void,
): CatchUp {
  let since: number | null = null;
  let held: EventMessage[] | null = null;
  let controller = new AbortController();
  let cancelAgain = (): void => undefined;

  function release(missed: readonly EventMessage[] = []): void {
    const all = inOrder([...missed, ...(held ?? [])]);
    held = null;
    since = null;
    controller.abort();
    for (const event of all) handOut(event);
  }

  /** Null where they cannot be had, which has been said then. */
  async function missedSince(
    at: number,
    channels: readonly Channel[],
    signal: AbortSignal,
  ): Promise<readonly EventMessage[] | null> {
    try {
      const answers = await Promise.all(eventPaths(channels).map((path) => http.json(path, { signal })));
      return inOrder(answers.flatMap(eventsOf)).filter((event) => event.at >= at);
    } catch (error) {
      if (!signal.aborted) complain(`${MISSING}: ${afterError(error).message}`);
      return null;
    }
  }

  async function fetchTwice(at: number, channels: () => readonly Channel[], signal: AbortSignal): Promise<void> {
    const missed = await missedSince(at, channels(), signal);
    if (signal.aborted) return;
    release(missed ?? []);
    const again = new AbortController();
    const cancel = timers.after(AGAIN_AFTER_MS, async () => {
      const late = await missedSince(at, channels(), again.signal);
      if (!again.signal.aborted) for (const event of late ?? []) handOut(event);
    });
    cancelAgain = () => {
      cancel();
      again.abort();
    };
  }

  return {
    lost(at) {
      controller.abort();
      cancelAgain();
      held = null;
      since ??= at - MARGIN_MS;
    },
    get since() {
      return since;
    },
    hold() {
      if (since !== null) held = [];
    },
    fetch(channels) {
      if (since === null) return;
      controller = new AbortController();
      const { signal } = controller;
      const cancel = timers.after(WITHIN_MS, () => {
        complain(`${MISSING}: the edge did not answer in time`);
        release();
      });
      signal.addEventListener("abort", cancel);
      void fetchTwice(since, channels, signal);
    },
    release,
    passes(event) {
      if (held === null) return true;
      held.push(event);
      if (held.length > MOST_HELD) release();
      return false;
    },
  };
}

function inOrder(events: readonly EventMessage[]): readonly EventMessage[] {
  return [...events].sort((a, b) => a.at - b.at);
}
