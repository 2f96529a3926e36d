/** How long to wait before the next attempt: exponential, with full jitter. Pure. */

import type { BackoffOptions } from "./types.ts";

export const DEFAULT_BACKOFF: BackoffOptions = { initialMs: 500, capMs: 30_000, healthyMs: 30_000 };

/** No two attempts are closer than this, whatever is drawn and whatever an edge says. */
export const FLOOR_MS = 100;

/** The delay after `failures` attempts that failed one after the other, 1 or more. `random` is from 0 to 1. */
export function delayAfter(failures: number, options: BackoffOptions, random: number): number {
  const ceiling = Math.min(options.capMs, options.initialMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(FLOOR_MS, Math.round(random * ceiling));
}

/** Failures in a row after one more, of a connection that was open for `openMs`; null where it never was. */
export function failuresAfter(failures: number, openMs: number | null, options: BackoffOptions): number {
  return openMs !== null && openMs >= options.healthyMs ? 1 : failures + 1;
}
