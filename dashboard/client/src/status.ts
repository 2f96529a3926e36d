/** What the client says of itself: a new object for each change, and none without one. */

import { guarded } from "./environment.ts";
import type { Status, Unsubscribe } from "./types.ts";

/** Before anything has been tried. */
export const FIRST_STATUS: Status = {
  state: "connecting",
  transport: "websocket",
  latencyMs: null,
  lastError: null,
  retryAt: null,
  attempt: 0,
  session: null,
  skippedFrames: 0,
};

export interface StatusHolder {
  readonly now: Status;
  set(change: Partial<Status>): void;
  on(handler: (status: Status) => void): Unsubscribe;
}

export function createStatus(first: Status): StatusHolder {
  const handlers = new Set<{ readonly handler: (status: Status) => void }>();
  let status = first;
  return {
    get now() {
      return status;
    },
    set(change) {
      const names = Object.keys(change) as (keyof Status)[];
      if (names.every((name) => change[name] === status[name])) return;
      status = { ...status, ...change };
      for (const entry of [...handlers]) if (handlers.has(entry)) guarded(entry.handler, status);
    },
    on(handler) {
      const entry = { handler };
      handlers.add(entry);
      return () => {
        handlers.delete(entry);
      };
    },
  };
}
