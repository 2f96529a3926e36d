/** So many at a time, the others in their order. */

export type Gate = <T>(job: () => Promise<T>) => Promise<T>;

export function createGate(atATime: number): Gate {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (job) => {
    if (running >= atATime) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
