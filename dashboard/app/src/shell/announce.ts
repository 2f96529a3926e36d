/** Hands on the newest of what it is told, at most once in `everyMs`, the same thing not twice. */
export function atMostEvery(everyMs: number, say: (text: string) => void): { tell(text: string): void; stop(): void } {
  let waiting: ReturnType<typeof setTimeout> | null = null;
  let newest: string | null = null;
  let saidLast: string | null = null;

  const speak = () => {
    waiting = null;
    if (newest === null || newest === saidLast) return;
    saidLast = newest;
    say(newest);
    waiting = setTimeout(speak, everyMs);
  };
  return {
    tell: (text) => {
      newest = text;
      if (waiting === null) speak();
    },
    stop: () => {
      if (waiting !== null) clearTimeout(waiting);
      waiting = null;
      newest = null;
    },
  };
}
