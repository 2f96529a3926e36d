/** The newest state of each kind and host, and how many were left out between two of them. Pure. */

import type { StateKind, StateMessage } from "./types.ts";

/** A run that began later than this after now was named by a clock that was wrong, and has been put right since. */
const CLOCK_OFF_MS = 60_000;

/** Newest ones win; of more than this the one that was renewed longest ago goes. */
const MOST_STATES = 50_000;

const WINDOW_MS = 10_000;

type Version = Pick<StateMessage, "epoch" | "seq">;

/**
 * Whether a state takes the place of another. An epoch is the time when its run began, on Redis' clock (`now`): one that
 * lies ahead would keep every later run out until then, so it gives way.
 */
export function isNewer(next: Version, last: Version, now: number): boolean {
  if (next.epoch === last.epoch) return next.seq > last.seq;
  return next.epoch > last.epoch || last.epoch > now + CLOCK_OFF_MS;
}

/** States that lie between two that came one after the other; of two runs nobody knows. */
export function skippedBetween(last: Version, next: Version): number {
  return next.epoch === last.epoch ? Math.max(0, next.seq - last.seq - 1) : 0;
}

export interface States {
  /** False where an newer one is known already. `counts`: whether what lies between has been left out for us. */
  take(message: StateMessage, now: number, counts: boolean): boolean;
  of(kind: StateKind, host: string | null): readonly StateMessage[];
  /** Keeps only those for which `wants` says so. */
  prune(wants: (kind: StateKind, host: string) => boolean): void;
  /** Another stream begins: what lies between its first state and the one before has not been left out. */
  rebase(): void;
  /** States left out in the last ten seconds. */
  skipped(now: number): number;
}

interface Known {
  readonly message: StateMessage;
  readonly stream: number;
}

export function createStates(): States {
  const known = new Map<string, Known>();
  let skips: readonly { readonly at: number; readonly count: number }[] = [];
  let stream = 0;

  return {
    take(message, now, counts) {
      const key = `${message.type}:${message.host}`;
      const last = known.get(key);
      if (last !== undefined) {
        if (!isNewer(message, last.message, now)) return false;
        const count = counts && last.stream === stream ? skippedBetween(last.message, message) : 0;
        if (count > 0) skips = noted(skips, now, count);
        known.delete(key); // so that it goes to the end
      } else if (known.size >= MOST_STATES) {
        const oldest = known.keys().next();
        if (!oldest.done) known.delete(oldest.value);
      }
      known.set(key, { message, stream });
      return true;
    },
    of(kind, host) {
      if (host !== null) {
        const one = known.get(`${kind}:${host}`);
        return one === undefined ? [] : [one.message];
      }
      return [...known.values()].map(({ message }) => message).filter((message) => message.type === kind);
    },
    prune(wants) {
      for (const [key, { message }] of known) {
        if (!wants(message.type, message.host)) known.delete(key);
      }
    },
    rebase() {
      stream += 1;
    },
    skipped(now) {
      return skips.reduce((sum, skip) => (now - skip.at < WINDOW_MS ? sum + skip.count : sum), 0);
    },
  };
}

/** By the second, so that there are never more than the window has. */
function noted(
  skips: readonly { readonly at: number; readonly count: number }[],
  now: number,
  count: number,
): readonly { readonly at: number; readonly count: number }[] {
  const recent = skips.filter((skip) => now - skip.at < WINDOW_MS);
  const last = recent.at(-1);
  if (last === undefined || now - last.at >= 1_000) return [...recent, { at: now, count }];
  return [...recent.slice(0, -1), { at: last.at, count: last.count + count }];
}
