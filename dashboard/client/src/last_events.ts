/** The events that the edges have kept, for whoever was away or polls. */

import { hostOf, kindOf } from "./channels.ts";
import { checkMessage, isRecord } from "./parse.ts";
import type { Channel } from "./types.ts";
import type { EventMessage } from "./wire.ts";

/** As many as there are kept of a host. */
const OF_A_HOST = 256;
const OF_ALL = 500;

/** More hosts than this are asked for all together, so that all that comes at once is less than a sieve remembers. */
const HOSTS_ALONE = 4;

/** Where to ask for the events of these channels. Pure. */
export function eventPaths(channels: readonly Channel[]): readonly string[] {
  const ofEvents = channels.filter((channel) => kindOf(channel) === "events");
  if (ofEvents.length > HOSTS_ALONE || ofEvents.some((channel) => hostOf(channel) === null)) {
    return [`/api/events/last?limit=${OF_ALL}`];
  }
  return ofEvents.map((channel) => `/api/hosts/${hostOf(channel)}/events?limit=${OF_A_HOST}`);
}

/** The events of such an answer, the oldest first; what is none is left out. Pure. */
export function eventsOf(answer: unknown): readonly EventMessage[] {
  const found = isRecord(answer) && Array.isArray(answer["events"]) ? answer["events"].map(checkMessage) : [];
  return found.filter((message): message is EventMessage => typeof message !== "string" && message.type === "event");
}
