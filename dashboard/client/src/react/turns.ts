/** Lets a few tasks run at a time, the others one after another in the order in which they came. */

export interface Turns {
  /** Rejects with the signal's reason where it is aborted before its turn; the task is not run then. */
  run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

export function createTurns(atATime: number): Turns {
  const waiting = new Set<() => void>();
  let running = 0;

  async function turn(signal: AbortSignal): Promise<void> {
    if (running < atATime) {
      running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abandon = () => {
        waiting.delete(begin);
        reject(signal.reason);
      };
      // Takes over the place of the task that has ended.
      const begin = () => {
        signal.removeEventListener("abort", abandon);
        resolve();
      };
      signal.addEventListener("abort", abandon, { once: true });
      waiting.add(begin);
    });
  }

  function endTurn(): void {
    const [next] = waiting;
    if (next === undefined) {
      running -= 1;
      return;
    }
    waiting.delete(next);
    next();
  }

  return {
    async run(task, signal) {
      signal.throwIfAborted();
      await turn(signal);
      try {
        return await task();
      } finally {
        endTurn();
      }
    },
  };
}
