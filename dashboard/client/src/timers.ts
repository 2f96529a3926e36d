/** Timers of one owner, all gone when it says so. */

import type { Environment } from "./types.ts";

export interface Timers {
  /** Runs once after `ms`, unless it is cancelled. Longer than a day is a day: look again then. */
  after(ms: number, run: () => void): () => void;
  stop(): void;
}

/** Beyond 2^31 ms a timer goes off at once. */
const LONGEST_MS = 24 * 3600 * 1000;

export function createTimers(environment: Pick<Environment, "setTimeout" | "clearTimeout">): Timers {
  const running = new Set<() => void>();
  let isStopped = false;
  return {
    after(ms, run) {
      if (isStopped) return () => undefined;
      const timer = environment.setTimeout(
        () => {
          running.delete(cancel);
          run();
        },
        Math.min(Math.max(0, ms), LONGEST_MS),
      );
      const cancel = (): void => {
        if (running.delete(cancel)) environment.clearTimeout(timer);
      };
      running.add(cancel);
      return cancel;
    },
    stop() {
      isStopped = true;
      for (const cancel of [...running]) cancel();
    },
  };
}
