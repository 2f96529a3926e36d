/** What the end of a connection, or an edge's refusal, means for the client: the tables of docs/PROTOCOL.md. Pure. */

export interface Ending {
  /** A close code, an HTTP status, or null where neither came. */
  readonly code: number | null;
  /** One sentence for people. */
  readonly message: string;
  /** `stop`: for good. `sign-in`: with another token. `ask`: nobody has said why, `GET /api/ws` may know. */
  readonly next: "again" | "stop" | "sign-in" | "ask";
  /** The edge's own word on when to come back; it takes the place of the backoff, which does not grow. */
  readonly afterMs: number | null;
  /** The backoff is added to this. */
  readonly notBeforeMs: number;
}

const MOST_RETRY_AFTER_MS = 60_000;

const STOPS: ReadonlyMap<number, string> = new Map([
  [1008, "The edge has closed the connection: this client broke the protocol repeatedly"],
  [1009, "The edge has closed the connection: a message was too large"],
  [4403, "The edge does not allow this"],
]);

const COMES_BACK: ReadonlyMap<number, string> = new Map([
  [1013, "The edge has no room now"],
  [4408, "The edge has heard nothing of this client for too long"],
  [4409, "This client could not keep up"],
]);

/** `hasOpened`: whether the edge has said `connected` on it. */
export function afterClose(code: number, reason: string, hasOpened: boolean): Ending {
  const stops = STOPS.get(code);
  if (stops !== undefined) return ending(code, said(stops, reason), "stop");
  if (code === 4401) return ending(code, said("Not signed in", reason), "sign-in");
  if (code === 1012) return { ...ending(code, "The edge is restarting", "again"), afterMs: announcedMs(reason) };
  const again = COMES_BACK.get(code);
  if (again !== undefined) return ending(code, said(again, reason), "again");
  if (!hasOpened) return ending(code, "No connection came about", "ask");
  return ending(code, said("The connection was lost", reason), "again");
}

/** `retryAfterMs`: of the header, where it was there to be read. */
export function afterStatus(status: number, reason: string, retryAfterMs: number | null): Ending {
  if (status === 401) return ending(status, said("Not signed in", reason), "sign-in");
  if (status === 403) return ending(status, said("The edge does not allow this", reason), "stop");
  const message = said(`The edge has answered with HTTP ${status}`, reason);
  return { ...ending(status, message, "again"), notBeforeMs: retryAfterMs ?? 0 };
}

export function lost(message: string, next: "again" | "stop" | "ask" = "again"): Ending {
  return ending(null, message, next);
}

/** What `{"retryAfterMs": 417}` says; null where it says nothing that counts. */
export function announcedMs(reason: string): number | null {
  try {
    const announced: unknown = JSON.parse(reason);
    if (typeof announced !== "object" || announced === null || !("retryAfterMs" in announced)) return null;
    const ms = announced.retryAfterMs;
    return Number.isInteger(ms) && (ms as number) >= 0 && (ms as number) <= MOST_RETRY_AFTER_MS ? (ms as number) : null;
  } catch {
    return null; // a reason for people
  }
}

/** `Retry-After` in seconds, as ms; null where it has none. */
export function parseRetryAfter(header: string | null): number | null {
  return header !== null && /^\d{1,5}$/.test(header.trim()) ? Number(header) * 1000 : null;
}

function ending(code: number | null, message: string, next: Ending["next"]): Ending {
  return { code, message, next, afterMs: null, notBeforeMs: 0 };
}

function said(what: string, reason: string): string {
  return reason === "" ? what : `${what}: ${reason}`;
}
