/** When another connection is opened beside the one in use: with a new token, or over a better transport. */

import type { Timers } from "./timers.ts";
import type { TokenKeeper } from "./token.ts";
import type { Transport } from "./types.ts";

const BETTER_EVERY_MS = 60_000;
const RENEW_EVERY_MS = 5_000;

export interface BesideWiring {
  readonly timers: Timers;
  readonly tokens: TokenKeeper;
  readonly serverNow: () => number;
  /** The one in use. */
  current(): { readonly token: string | null; readonly carrier: { readonly transport: Transport } } | null;
  /** A better transport than its own, another one each turn; null where there is none. */
  better(turn: number): Transport | null;
  open(transport: Transport, token: string | null): void;
  complained(message: string): void;
}

export interface Beside {
  /** There is another one in use. */
  plan(): void;
  /** The one that was opened beside has not come about. */
  failed(): void;
  /** A new token now, and a connection with it whether it is another one or not. */
  now(): void;
  stop(): void;
}

export function createBeside(wiring: BesideWiring): Beside {
  const { timers, tokens, serverNow } = wiring;
  let cancelRenewal = (): void => undefined;
  let cancelBetter = (): void => undefined;
  let turn = 0;
  /** Answers that were asked for before this moved are not waited for any more. */
  let plans = 0;

  function planRenewal(): void {
    cancelRenewal();
    const dueAt = tokens.dueAt();
    if (dueAt === null) return;
    cancelRenewal = timers.after(Math.max(RENEW_EVERY_MS, dueAt - serverNow()), () => {
      if (serverNow() < dueAt) planRenewal();
      else renew(false);
    });
  }

  /** An old token again is no reason for a new connection: it is asked for once more before long. */
  function renew(always: boolean): void {
    const asked = plans;
    tokens.renew().then(
      (token) => {
        const current = wiring.current();
        if (asked !== plans || current === null) return;
        planRenewal();
        if (always || token !== current.token) wiring.open(current.carrier.transport, token);
      },
      (error: unknown) => {
        if (asked !== plans) return;
        wiring.complained(`token() failed: ${error instanceof Error ? error.message : String(error)}`);
        planRenewal();
      },
    );
  }

  function planBetter(): void {
    cancelBetter();
    if (wiring.better(turn) === null) return;
    cancelBetter = timers.after(BETTER_EVERY_MS, () => {
      const better = wiring.better(turn);
      const current = wiring.current();
      turn += 1;
      if (better !== null && current !== null) wiring.open(better, current.token);
      planBetter();
    });
  }

  function stop(): void {
    plans += 1;
    cancelRenewal();
    cancelBetter();
  }

  return {
    plan() {
      stop();
      planRenewal();
      planBetter();
    },
    failed() {
      if (tokens.dueAt() === null) return;
      cancelRenewal();
      cancelRenewal = timers.after(2 * RENEW_EVERY_MS, () => renew(false));
    },
    now: () => renew(true),
    stop,
  };
}
