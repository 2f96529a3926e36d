/** A client that is not there: while a page is rendered on a server. */

import type { FleetClient, Status } from "../types.ts";

export const ABSENT_STATUS: Status = {
  state: "connecting",
  transport: "websocket",
  latencyMs: null,
  lastError: null,
  retryAt: null,
  attempt: 0,
  session: null,
  skippedFrames: 0,
};

const nothing = (): void => undefined;

function refuse(): never {
  throw new Error("there is no fleet client here: FleetcastProvider was given none");
}

/** It is always about to connect. Acting throws; asking rejects. */
export const absentClient: FleetClient = {
  status: ABSENT_STATUS,
  onStatus: () => nothing,
  subscribe: () => nothing,
  act: refuse,
  actOnAll: refuse,
  get: async () => refuse(),
  now: () => Date.now(),
  reconnect: nothing,
  close: nothing,
};
