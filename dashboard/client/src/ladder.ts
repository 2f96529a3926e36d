/** Which transport is tried next. Pure. */

import type { Transport } from "./types.ts";

/** One that did not get through so often, while the edge answers, is given up for the next one. */
const TRIES = 2;

export interface Ladder {
  readonly transports: readonly Transport[];
  readonly index: number;
  /** How often the present one has not got through in a row. */
  readonly blocked: number;
}

export const DEFAULT_TRANSPORTS: readonly Transport[] = ["websocket", "sse", "polling"];

export function transportOf(ladder: Ladder): Transport {
  return ladder.transports[ladder.index] ?? "websocket";
}

/** The edge answers, but this transport has not come to `connected`. */
export function whenBlocked(ladder: Ladder): Ladder {
  const blocked = ladder.blocked + 1;
  const isLast = ladder.index === ladder.transports.length - 1;
  return blocked >= TRIES && !isLast ? { ...ladder, index: ladder.index + 1, blocked: 0 } : { ...ladder, blocked };
}

/** There is no way to the edge at all. The network may be another one when there is: one try decides then. */
export function whenAway(ladder: Ladder): Ladder {
  return { ...ladder, index: 0, blocked: ladder.index > 0 ? TRIES - 1 : 0 };
}

export function whenOpen(ladder: Ladder, transport: Transport): Ladder {
  return { ...ladder, index: Math.max(0, ladder.transports.indexOf(transport)), blocked: 0 };
}

/** Which better one to try beside the one in use, each in its turn; null where none is better. */
export function betterThan(ladder: Ladder, transport: Transport, turn: number): Transport | null {
  const better = ladder.transports.slice(0, Math.max(0, ladder.transports.indexOf(transport)));
  return better[turn % Math.max(1, better.length)] ?? null;
}
