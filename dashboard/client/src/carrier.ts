/** What a transport is to the link that uses it: one stream of messages, from its opening to its end. */

import type { Measurement } from "./clock.ts";
import type { Ending } from "./closing.ts";
import type { Http } from "./http.ts";
import type { Timers } from "./timers.ts";
import type { Channel, Environment, Session, StateMessage, Transport } from "./types.ts";
import type {
  Connected,
  ContainerAck,
  ContainerAction,
  EventMessage,
  HostsMessage,
  Error as WireError,
} from "./wire.ts";

export const PROTOCOL = 1;

export type Delivered = StateMessage | EventMessage | HostsMessage | ContainerAck | WireError;

/** What a transport gets. Nothing is called after `ended`, or after its `close`. */
export interface Wiring {
  readonly environment: Environment;
  /** Its own: they end with it. */
  readonly timers: Timers;
  readonly http: Http;
  /** Who signs in with a token is whom it names; polling says nothing more of it. */
  bearer(): Pick<Session, "user" | "role">;
  readonly pollIntervalMs: number;
  /** Channels that this user may not have, each refused alone. */
  readonly banned: Set<Channel>;
  /** Of events from before, those since then are handed out, Redis' clock; null: none of them. */
  readonly eventsSince: number | null;
  /** Once: messages flow. */
  opened(session: Session): void;
  /** Once, after `opened`: what was wanted then is subscribed to, so that nothing is missed from here on. */
  ready(): void;
  took(message: Delivered): void;
  /** Events from before: they are known already to whoever subscribes now. */
  passedOver(events: readonly EventMessage[]): void;
  measured(measurement: Measurement): void;
  /** Something that does not end it. */
  complained(message: string): void;
  ended(ending: Ending): void;
}

export interface Carrier {
  readonly transport: Transport;
  /** What is wanted from now on. */
  follow(channels: readonly Channel[]): void;
  /** False where this transport has no way for it: HTTP has. */
  send(action: ContainerAction): boolean;
  /** It may be dead without knowing: find out soon. */
  check(): void;
  close(): void;
}

export type OpenCarrier = (wiring: Wiring, token: string | null, channels: readonly Channel[]) => Carrier;

export function sessionOf(connected: Connected): Session {
  const { clientId, edgeId, user, role } = connected;
  return { clientId, edgeId, user, role };
}

export const OTHER_PROTOCOL = "The edge speaks another protocol: this client is too old, or too new";
