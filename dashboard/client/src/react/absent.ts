/** A client that is not there: while a page is rendered on a server. */

import { FIRST_STATUS } from "../status.ts";
import type { FleetClient } from "../types.ts";

const nothing = (): void => undefined;

function refuse(): never {
  throw new Error("there is no fleet client here: FleetcastProvider was given none");
}

/** It is always about to connect. Acting throws; asking rejects. */
export const absentClient: FleetClient = {
  status: FIRST_STATUS,
  onStatus: () => nothing,
  subscribe: () => nothing,
  act: refuse,
  actOnAll: refuse,
  get: async () => refuse(),
  now: () => Date.now(),
  reconnect: nothing,
  close: nothing,
};
