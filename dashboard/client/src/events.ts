/** Events: each is handed out once, however often and over whatever it comes. Pure. */

import type { EventMessage } from "./wire.ts";

const REMEMBERED = 2_000;

export interface Sieve {
  /** True for one that has not been seen. */
  isNew(event: EventMessage): boolean;
}

export function createSieve(most = REMEMBERED): Sieve {
  const seen = new Set<string>();
  return {
    isNew(event) {
      const key = keyOf(event);
      if (seen.has(key)) return false;
      seen.add(key);
      if (seen.size > most) {
        const oldest = seen.values().next();
        if (!oldest.done) seen.delete(oldest.value);
      }
      return true;
    },
  };
}

/** Events have no ids; of one container no two are the same in the same millisecond. */
function keyOf(event: EventMessage): string {
  return JSON.stringify([event.host, event.containerId, event.at, event.from, event.to, event.health, event.exitCode]);
}
