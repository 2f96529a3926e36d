/** What comes after an attempt, or a connection, has ended. Pure. */

import { delayAfter, FLOOR_MS, failuresAfter } from "./backoff.ts";
import type { Ending } from "./closing.ts";
import type { BackoffOptions } from "./types.ts";

/** What is remembered from one attempt to the next. */
export interface Trouble {
  /** In a row. */
  readonly failures: number;
  /** A token was refused, so another one was asked for: once. */
  readonly hasAskedAgain: boolean;
}

export const NO_TROUBLE: Trouble = { failures: 0, hasAskedAgain: false };

export type Plan =
  | { readonly do: "refuse" }
  | { readonly do: "sign-out" }
  | { readonly do: "try" }
  /** `notBeforeMs`: so long, whoever would like it sooner. */
  | { readonly do: "wait"; readonly waitMs: number; readonly notBeforeMs: number };

/** `openMs`: how long it was open; null where it never was. `random` is from 0 to 1. */
export function planAfter(
  ending: Ending,
  openMs: number | null,
  trouble: Trouble,
  backoff: BackoffOptions,
  random: number,
): { readonly plan: Plan; readonly trouble: Trouble } {
  const isHealthy = openMs !== null && openMs >= backoff.healthyMs;
  const before = isHealthy ? NO_TROUBLE : trouble;
  if (ending.next === "stop") return { plan: { do: "refuse" }, trouble: before };
  if (ending.next === "sign-in") {
    return { plan: { do: before.hasAskedAgain ? "sign-out" : "try" }, trouble: { ...before, hasAskedAgain: true } };
  }
  if (ending.afterMs !== null) {
    const waitMs = Math.max(FLOOR_MS, ending.afterMs);
    return { plan: { do: "wait", waitMs, notBeforeMs: ending.afterMs }, trouble: before };
  }
  const failures = failuresAfter(trouble.failures, openMs, backoff);
  const waitMs = ending.notBeforeMs + delayAfter(failures, backoff, random);
  return { plan: { do: "wait", waitMs, notBeforeMs: ending.notBeforeMs }, trouble: { ...before, failures } };
}
