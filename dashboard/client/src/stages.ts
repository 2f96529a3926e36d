/** Where an action stands, and what is to be done about it next. Pure. */

import type { FinalStatus, Outcome } from "./types.ts";
import type { ActionRecord, ContainerAck, Error as WireError } from "./wire.ts";

/** After this without an ack the same request is sent again, which starts nothing new. */
export const AGAIN_AFTER_MS = 5_000;
/** Between two looks at its record, where no acks come by themselves. */
export const LOOK_EVERY_MS = 1_000;
/** An edge settles what nobody has taken a second or two after its deadline. */
const MARGIN_MS = 15_000;
/** Docker's grace where none was named: most containers' own is shorter. */
const USUAL_GRACE_SEC = 60;

/** How messages get to an edge now: with acks, or request by request. */
export type Way = "socket" | "http" | "none";

export interface Standing {
  /** On this machine's clock, ms. */
  readonly askedAt: number;
  readonly expiresInSec: number;
  readonly timeoutSec: number | null;
  /** When it was last given to an edge, and over which connection; null before. */
  readonly sent: { readonly at: number; readonly over: number } | null;
  /** When its record was last asked for; 0 before. */
  readonly lookedAt: number;
  /** Whether an edge has told of it, so that nothing new is started however late it is sent again. */
  readonly isKnown: boolean;
  /** The same of all that go in one message with it. */
  readonly areAllKnown: boolean;
  /** Whether it can be the same request over HTTP as the one that was sent. */
  readonly mayPost: boolean;
  /** An edge has said to wait until then. */
  readonly notBefore: number;
}

export type Move =
  | { readonly do: "wait"; readonly until: number }
  /** So that it does not begin after its deadline, to the second. */
  | { readonly do: "send" | "submit"; readonly expiresInSec: number }
  | { readonly do: "look" }
  /** It was never sent, and its time is over. */
  | { readonly do: "expire" }
  /** Its record is asked for once more; then nobody can tell. */
  | { readonly do: "give-up" };

/** `over` numbers the connections, so that each one is given what is open once. */
export function nextMove(standing: Standing, way: Way, over: number, now: number): Move {
  const { sent, isKnown } = standing;
  const deadline = standing.askedAt + standing.expiresInSec * 1000;
  const end = deadline + (standing.timeoutSec ?? USUAL_GRACE_SEC) * 1000 + MARGIN_MS;
  if (sent === null && now >= deadline) return { do: "expire" };
  if (now >= end) return { do: "give-up" };
  const patience = sent === null ? deadline : end;
  const until = (at: number): Move => ({ do: "wait", until: Math.min(at, patience) });
  if (way === "none") return until(patience);
  if (now < standing.notBefore) return until(standing.notBefore);

  const expiresInSec = Math.max(1, Math.ceil((deadline - now) / 1000));
  if (way === "socket" && (now < deadline || standing.areAllKnown)) {
    if (sent?.over !== over) return { do: "send", expiresInSec };
    if (isKnown) return until(end);
    return now < sent.at + AGAIN_AFTER_MS ? until(sent.at + AGAIN_AFTER_MS) : { do: "send", expiresInSec };
  }
  const lookAt = Math.max(standing.lookedAt, sent?.at ?? 0) + LOOK_EVERY_MS;
  if (sent !== null && now < lookAt) return until(lookAt);
  return standing.mayPost && !isKnown && now < deadline ? { do: "submit", expiresInSec } : { do: "look" };
}

const RANKS: Readonly<Record<string, number>> = { accepted: 0, running: 1 };
const FINAL: ReadonlySet<string> = new Set<FinalStatus>(["succeeded", "failed", "expired", "rejected", "unknown"]);

export function isFinal(status: string): status is FinalStatus {
  return FINAL.has(status);
}

/** Whether an ack tells more than the last one did; false for one of a status that is not known. */
export function isLater(ack: ContainerAck, last: ContainerAck | null): boolean {
  const rank = rankOf(ack.status);
  return rank !== null && (last === null || rank > (rankOf(last.status) ?? -1));
}

function rankOf(status: string): number | null {
  return isFinal(status) ? 2 : (RANKS[status] ?? null);
}

/** What to do about an error: the action may be under way all the same where it was given to an edge before. */
export function afterRefusal(code: WireError["code"], hasBeenSentBefore: boolean): "again" | "look" | "settle" {
  if (code === "unavailable") return "again";
  if (!hasBeenSentBefore) return "settle";
  return code === "rate-limited" ? "again" : "look";
}

export function outcomeOf(ack: ContainerAck, status: FinalStatus): Outcome {
  return {
    status,
    error: ack.error ?? null,
    code: null,
    durationMs: ack.durationMs ?? null,
    noop: ack.noop === true,
    ack,
  };
}

/** Without an ack that says so. */
export function outcomeWithout(
  status: FinalStatus,
  error: string,
  code: WireError["code"] | null,
  ack: ContainerAck | null,
): Outcome {
  return { status, error, code, durationMs: null, noop: false, ack };
}

/** What a record tells, as the ack that would have told it. */
export function ackOf(record: ActionRecord, requestId: string, target: number | null): ContainerAck {
  const { host, containerId, action, status, at, actor, error, durationMs, noop } = record;
  return {
    type: "container-ack",
    requestId,
    ...(target === null ? {} : { target }),
    ...{ host, containerId, action, status, at, actor },
    ...(error === undefined ? {} : { error }),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(noop === undefined ? {} : { noop }),
  };
}
