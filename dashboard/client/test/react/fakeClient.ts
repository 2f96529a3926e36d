/** A client whose connection a test leads by hand, and messages as an edge sends them. */

import { FleetcastError } from "../../src/errors.ts";
import type {
  ActionHandle,
  ActionRequest,
  Channel,
  FleetClient,
  MessageOf,
  Outcome,
  Session,
  Status,
} from "../../src/types.ts";
import type { ContainerAck, EventMessage, HostsMessage, MetricsMessage } from "../../src/wire.ts";

const SESSION: Session = { clientId: "c1", edgeId: "e1", user: "ada", role: "operator" };

export interface FakeAction {
  readonly request: ActionRequest;
  ack(status: ContainerAck["status"]): void;
  settle(outcome: Partial<Outcome>): void;
}

export interface FakeClient extends FleetClient {
  /** Changes the status and tells of it. */
  become(change: Partial<Status>): void;
  /** To the channel's subscribers; none of them is fine. */
  push<C extends Channel>(channel: C, message: MessageOf<C>): void;
  /** The channels that are subscribed to, each as often as it is. */
  readonly subscribed: readonly Channel[];
  /** Every subscription there ever was. */
  readonly subscriptions: readonly Channel[];
  /** Paths that were asked for. */
  readonly asked: readonly string[];
  /** Answers `get`; a rejection by default. */
  respond: (path: string, signal: AbortSignal | undefined) => Promise<unknown>;
  readonly actions: readonly FakeAction[];
  readonly isClosed: boolean;
}

export function fakeClient(): FakeClient {
  let status: Status = {
    state: "connecting",
    transport: "websocket",
    latencyMs: null,
    lastError: null,
    retryAt: null,
    attempt: 0,
    session: null,
    skippedFrames: 0,
  };
  let isClosed = false;
  const statusHandlers = new Set<(status: Status) => void>();
  const handlers = new Set<{ channel: Channel; handle: (message: never) => void }>();
  const subscriptions: Channel[] = [];
  const asked: string[] = [];
  const actions: FakeAction[] = [];

  const client: FakeClient = {
    get status() {
      return status;
    },
    get isClosed() {
      return isClosed;
    },
    get subscribed() {
      return [...handlers].map(({ channel }) => channel);
    },
    subscriptions,
    asked,
    actions,
    respond: async (path) => {
      throw new FleetcastError(`nothing is known of ${path}`, 404, "unknown-host");
    },
    onStatus(handler) {
      statusHandlers.add(handler);
      return () => statusHandlers.delete(handler);
    },
    subscribe(channel, handle) {
      const one = { channel, handle: handle as (message: never) => void };
      handlers.add(one);
      subscriptions.push(channel);
      return () => handlers.delete(one);
    },
    act(request) {
      const { handle, action } = fakeAction(request, `r${actions.length + 1}`);
      actions.push(action);
      return handle;
    },
    actOnAll: ({ targets, ...request }) => targets.map((target) => client.act({ ...request, ...target })),
    async get(path, signal) {
      asked.push(path);
      return client.respond(path, signal);
    },
    now: () => Date.now(),
    reconnect: () => client.become({ state: "connecting" }),
    close() {
      isClosed = true;
    },
    become(change) {
      status = { ...status, ...change, session: change.state === "open" ? SESSION : status.session };
      for (const handler of [...statusHandlers]) {
        handler(status);
      }
    },
    push(channel, message) {
      for (const one of [...handlers]) {
        if (one.channel === channel) {
          one.handle(message as never);
        }
      }
    },
  };
  return client;
}

function fakeAction(request: ActionRequest, requestId: string): { handle: ActionHandle; action: FakeAction } {
  let ack: ContainerAck | null = null;
  let settle: (outcome: Outcome) => void = () => undefined;
  const ackHandlers = new Set<(ack: ContainerAck) => void>();
  const handle: ActionHandle = {
    requestId,
    target: null,
    get ack() {
      return ack;
    },
    onAck(handler) {
      ackHandlers.add(handler);
      return () => ackHandlers.delete(handler);
    },
    outcome: new Promise((resolve) => {
      settle = resolve;
    }),
  };
  return {
    handle,
    action: {
      request,
      ack(status) {
        const { action, containerId, host = "web-1" } = request;
        ack = { type: "container-ack", requestId, host, containerId, action, status, at: Date.now(), actor: "ada" };
        for (const handler of [...ackHandlers]) {
          handler(ack);
        }
      },
      settle: (outcome) =>
        settle({ status: "succeeded", error: null, code: null, durationMs: 3, noop: false, ack, ...outcome }),
    },
  };
}

export function metrics(host: string, seq: number, epoch = 1): MetricsMessage {
  return {
    type: "metrics",
    host,
    epoch,
    seq,
    sampledAt: 1_000 * seq,
    data: {
      cpu: { percent: seq, perCorePercent: [seq], cores: 1, load: [0, 0, 0] },
      memory: { totalBytes: 4, usedBytes: 2, availableBytes: 2, percent: 50 },
      swap: { totalBytes: 0, usedBytes: 0, percent: 0 },
      disks: [],
      diskIo: { readBytesPerSec: 0, writeBytesPerSec: 0 },
      network: [],
      temperatures: [],
      uptimeSec: seq,
      processes: 1,
      stale: [],
    },
  };
}

export function roster(...hosts: readonly string[]): HostsMessage {
  const live = { state: "live" } as const;
  return {
    type: "hosts",
    hosts: hosts.map((host) => ({
      host,
      status: "live",
      expected: "always",
      lastSeenAt: 0,
      links: { metrics: live, containers: live, executor: live },
      labels: {},
    })),
  };
}

export function event(host: string, at: number, name = "nginx"): EventMessage {
  return { type: "event", host, containerId: name.repeat(2), name, from: "running", to: "exited", at, cause: "docker" };
}
