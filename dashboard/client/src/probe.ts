/** Asks the edge for its status: a page is not shown why a WebSocket was refused, but it is shown this. */

import { OTHER_PROTOCOL, PROTOCOL } from "./carrier.ts";
import type { Measurement } from "./clock.ts";
import { afterStatus, type Ending, lost } from "./closing.ts";
import { FleetcastError } from "./errors.ts";
import type { Http } from "./http.ts";
import { isRecord } from "./parse.ts";
import type { EdgeStatus } from "./wire.ts";

export interface Probe {
  readonly status: EdgeStatus;
  readonly measurement: Measurement;
}

/** Throws FleetcastError. */
export async function probe(http: Http, now: () => number, signal?: AbortSignal): Promise<Probe> {
  const sentAt = now();
  const status = await http.json("/api/ws", signal === undefined ? {} : { signal });
  const receivedAt = now();
  if (!isStatus(status)) throw new FleetcastError("this is no edge of a fleet", null, null);
  return { status, measurement: { sentAt, receivedAt, serverTime: status.serverTime } };
}

/** Why no connection came about; null where the edge is there and would have this client. */
export async function whyNot(http: Http, now: () => number, signal: AbortSignal): Promise<Ending | null> {
  try {
    const { status } = await probe(http, now, signal);
    if (status.protocol !== PROTOCOL) return lost(OTHER_PROTOCOL, "stop");
    return status.ready ? null : afterStatus(503, status.reason ?? "not now", null);
  } catch (error) {
    return afterError(error);
  }
}

/** What it means that a request went wrong. */
export function afterError(error: unknown): Ending {
  if (!(error instanceof FleetcastError)) return lost(`Something is wrong with this client: ${String(error)}`);
  if (error.status === null || error.status < 400) return lost(sentence(error.message));
  return afterStatus(error.status, error.message, error.retryAfterMs);
}

function isStatus(value: unknown): value is EdgeStatus {
  return (
    isRecord(value) &&
    Number.isFinite(value["serverTime"]) &&
    typeof value["edgeId"] === "string" &&
    typeof value["ready"] === "boolean"
  );
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
