/** What the client's core offers, and what it says of itself. The messages are in wire.ts. */

import type {
  ContainerAck,
  ContainerAction,
  ContainersMessage,
  EventMessage,
  Expectation,
  HostsMessage,
  MetricsMessage,
  ProcessesMessage,
  UsageMessage,
  Error as WireError,
} from "./wire.ts";

export type Unsubscribe = () => void;

export type StateKind = "metrics" | "containers" | "usage" | "processes";
export type ChannelKind = StateKind | "events" | "hosts";
/** A kind alone is every host that one may see. */
export type Channel = ChannelKind | `${Exclude<ChannelKind, "hosts">}:${string}`;

export type StateMessage = MetricsMessage | ContainersMessage | UsageMessage | ProcessesMessage;

interface MessageOfKind {
  readonly metrics: MetricsMessage;
  readonly containers: ContainersMessage;
  readonly usage: UsageMessage;
  readonly processes: ProcessesMessage;
  readonly events: EventMessage;
  readonly hosts: HostsMessage;
}

/** The message that a channel brings. */
export type MessageOf<C extends Channel> = C extends `${infer K}:${string}`
  ? K extends ChannelKind
    ? MessageOfKind[K]
    : never
  : C extends ChannelKind
    ? MessageOfKind[C]
    : never;

export type Transport = "websocket" | "sse" | "polling";

/**
 * - `connecting`: on its way, for the first time or again.
 * - `open`: messages flow.
 * - `waiting`: between two attempts, until `retryAt`.
 * - `signed-out`: the edge wants a token, or another one; `reconnect()` tries again.
 * - `refused`: the edge will not have this client (1008, 1009, 4403, another origin, another protocol); it has stopped.
 * - `closed`: by `close()`, for good.
 */
export type ConnectionState = "connecting" | "open" | "waiting" | "signed-out" | "refused" | "closed";

export interface ConnectionProblem {
  /** A close code, an HTTP status, or null where neither came: no network, no answer in time. */
  readonly code: number | null;
  /** One sentence for people. */
  readonly message: string;
  /** On this machine's clock, ms. */
  readonly at: number;
}

export interface Session {
  readonly clientId: string;
  readonly edgeId: string;
  readonly user: string;
  readonly role: "viewer" | "operator" | "admin";
}

/** Never changed in place: a new object for each change. */
export interface Status {
  readonly state: ConnectionState;
  /** Which one carries the messages, or is being tried. */
  readonly transport: Transport;
  /** Round trip to the edge, ms; null while unknown. */
  readonly latencyMs: number | null;
  /** Why it is not open, or why it was not the last time; or what the edge has refused since. */
  readonly lastError: ConnectionProblem | null;
  /** When it will be tried again, on this machine's clock, ms; only while `waiting`. */
  readonly retryAt: number | null;
  /** Attempts since it was last open. */
  readonly attempt: number;
  /**
   * What the edge has said of this connection; the last one's while there is none. Over `polling` it says nothing: the
   * token names user and role, and there is no client id.
   */
  readonly session: Session | null;
  /** States that the edge has left out for this client in the last ten seconds, for newer ones were there. */
  readonly skippedFrames: number;
}

export type FinalStatus = "succeeded" | "failed" | "expired" | "rejected" | "unknown";

export interface ActionRequest {
  /** May be left out while the fleet has one host. */
  readonly host?: string;
  /** Id, unambiguous id prefix, or name. */
  readonly containerId: string;
  readonly action: ContainerAction["action"];
  /** Docker's grace before it kills, for `stop` and `restart`. */
  readonly timeoutSec?: number;
  /** What has not begun by then will not begin; 30 without it. */
  readonly expiresInSec?: number;
  /** What the user saw: it happens only while this is still so. */
  readonly expect?: Expectation;
  /** The idempotency key; made by the client without it. */
  readonly requestId?: string;
}

export interface BulkRequest extends Omit<ActionRequest, "host" | "containerId" | "expect"> {
  /** 1 to 100. */
  readonly targets: readonly { readonly host?: string; readonly containerId: string; readonly expect?: Expectation }[];
}

export interface Outcome {
  readonly status: FinalStatus;
  /** Why it is not `succeeded`, for people. */
  readonly error: string | null;
  /** The edge's error code where it never became an action. */
  readonly code: WireError["code"] | null;
  readonly durationMs: number | null;
  /** True where nothing had to be done. */
  readonly noop: boolean;
  readonly ack: ContainerAck | null;
}

/** One action on one container, from the moment it was asked for. */
export interface ActionHandle {
  readonly requestId: string;
  /** Which of a bulk's targets. */
  readonly target: number | null;
  /** The last ack that came; null before the first. */
  readonly ack: ContainerAck | null;
  /** Called for each ack, each stage once, none after an older one. */
  onAck(handler: (ack: ContainerAck) => void): Unsubscribe;
  /**
   * Settles once and never rejects. `unknown` where nothing came until a while after its deadline, or where the client
   * was closed before. One that was never sent is `expired` after its deadline, and `rejected` by `close()`.
   */
  readonly outcome: Promise<Outcome>;
}

export interface BackoffOptions {
  /** The first delay is up to this long. */
  readonly initialMs: number;
  readonly capMs: number;
  /** A connection that was open for so long starts from the beginning. */
  readonly healthyMs: number;
}

export interface ClientOptions {
  /** The edge's origin, `https://fleet.example.com`; this page's own without it. */
  readonly url?: string;
  /**
   * The token, or null for none. Asked for before each attempt, and again before the one in use runs out: a JWT says
   * when, in `exp`. Where it fails, the attempt has failed.
   */
  readonly token?: () => string | null | Promise<string | null>;
  /** In the order in which they are tried. */
  readonly transports?: readonly Transport[];
  readonly backoff?: Partial<BackoffOptions>;
  /** Between two rounds of `polling`. */
  readonly pollIntervalMs?: number;
  /** For tests. */
  readonly environment?: Partial<Environment>;
}

/** What the core takes from outside. */
export interface Environment {
  readonly WebSocket: typeof WebSocket;
  readonly fetch: typeof fetch;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
  readonly clearTimeout: (timer: unknown) => void;
  /** ms since the epoch. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
  /** Calls back when the network came back or the page became visible again: a good moment to try. */
  readonly onWake: (run: () => void) => Unsubscribe;
}

export interface FleetClient {
  readonly status: Status;
  onStatus(handler: (status: Status) => void): Unsubscribe;
  /**
   * Calls back with the last state of each matching host, then with every change; with every event from then on. For as
   * long as it is subscribed, whatever becomes of the connection; never an older state after a newer one. A second
   * subscriber to the same channel gets the states that are known at once, and costs the edge nothing. Throws
   * FleetcastError for a channel that is none.
   */
  subscribe<C extends Channel>(channel: C, handler: (message: MessageOf<C>) => void): Unsubscribe;
  act(request: ActionRequest): ActionHandle;
  /** One handle a target, in their order. */
  actOnAll(request: BulkRequest): readonly ActionHandle[];
  /** An HTTP route of the edge, `/api/hosts`, with the token. Throws FleetcastError. */
  get(path: string, signal?: AbortSignal): Promise<unknown>;
  /** The time on Redis' clock, ms, as well as this client knows it. */
  now(): number;
  /** Tries now: after signing in, or because somebody does not want to wait. */
  reconnect(): void;
  close(): void;
}
