/** An edge that does what the test says: sockets, requests and streams without a network. */

import { vi } from "vitest";
import { type ClientOptions, connect, type FleetClient } from "../src/index.ts";
import type { ClientMessage } from "../src/wire.ts";

export const CONNECTED = {
  type: "connected",
  clientId: "c-1",
  edgeId: "e-1",
  protocol: 1,
  serverTime: 0,
  heartbeatIntervalMs: 5_000,
  user: "ann",
  role: "operator",
} as const;

export class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (last === undefined) throw new Error("no socket was opened");
    return last;
  }

  readonly url: string;
  readonly protocols: readonly string[];
  readyState = 0;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  sent: ClientMessage[] = [];
  /** Whether pings are answered at once. */
  answers = true;
  closedWith: number | null = null;

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    const message = JSON.parse(text) as ClientMessage;
    this.sent.push(message);
    if (message.type === "ping" && this.answers) {
      queueMicrotask(() => this.say({ type: "heartbeat", serverTime: Date.now(), nonce: message.nonce }));
    }
  }

  close(code?: number): void {
    this.readyState = 3;
    this.closedWith = code ?? 1005;
  }

  /** The edge accepts and greets. */
  open(changes: object = {}): void {
    this.readyState = 1;
    this.say({ ...CONNECTED, ...changes });
  }

  say(message: unknown): void {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  of<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.sent.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type);
  }

  /** Channels that are subscribed now. */
  get channels(): string[] {
    const channels = new Set<string>();
    for (const message of this.sent) {
      if (message.type === "subscribe") for (const channel of message.channels) channels.add(channel);
      if (message.type === "unsubscribe") for (const channel of message.channels) channels.delete(channel);
    }
    return [...channels].sort();
  }
}

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly token: string | null;
  readonly body: unknown;
  readonly signal: AbortSignal | null;
}

type Route = (request: FakeRequest) => Response | Promise<Response>;

export const STATUS = {
  edgeId: "e-1",
  version: "1",
  protocol: 1,
  serverTime: 0,
  ready: true,
  reason: null,
  clients: 0,
  hosts: 1,
};

export class FakeHttp {
  requests: FakeRequest[] = [];
  /** By the beginning of `METHOD /path`; the longest one counts. */
  routes = new Map<string, Route>();

  constructor() {
    this.on("GET /api/ws", () => json({ ...STATUS, serverTime: Date.now() }));
  }

  on(prefix: string, route: Route): void {
    this.routes.set(prefix, route);
  }

  asked(prefix: string): FakeRequest[] {
    return this.requests.filter((request) => `${request.method} ${request.path}`.startsWith(prefix));
  }

  readonly fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(input));
    const request: FakeRequest = {
      method: init.method ?? "GET",
      path: url.pathname + url.search,
      token: new Headers(init.headers).get("Authorization"),
      body: typeof init.body === "string" ? JSON.parse(init.body) : null,
      signal: init.signal ?? null,
    };
    this.requests.push(request);
    const line = `${request.method} ${request.path}`;
    const found = [...this.routes]
      .filter(([prefix]) => line.startsWith(prefix))
      .sort(([a], [b]) => b.length - a.length);
    const route = found[0]?.[1];
    if (route === undefined) return refusal(404, "unknown-host", "nothing is known of it");
    const answer = await route(request);
    if (init.signal?.aborted) throw init.signal.reason;
    return answer;
  };
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers });
}

export function refusal(status: number, code: string, message: string, headers: Record<string, string> = {}): Response {
  return json({ type: "error", code, message }, status, headers);
}

export function noNetwork(): never {
  throw new TypeError("fetch failed");
}

/** A stream of server-sent events that the test feeds. */
export class FakeStream {
  readonly response: Response;
  readonly request: FakeRequest;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  isAborted = false;

  constructor(request: FakeRequest) {
    this.request = request;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
    });
    request.signal?.addEventListener("abort", () => {
      this.isAborted = true;
      this.#controller?.error(new DOMException("aborted", "AbortError"));
    });
    this.response = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    this.write("retry: 2000\n\n");
  }

  get channels(): string[] {
    return (new URL(this.request.path, "http://x").searchParams.get("channels") ?? "").split(",").sort();
  }

  write(text: string): void {
    this.#controller?.enqueue(new TextEncoder().encode(text));
  }

  say(message: unknown): void {
    this.write(`data: ${JSON.stringify(message)}\n\n`);
  }

  end(): void {
    this.#controller?.close();
  }
}

export class FakeEdge {
  readonly http = new FakeHttp();
  readonly clients: FleetClient[] = [];
  streams: FakeStream[] = [];
  /** 0 to 1: what is drawn. */
  random = 1;
  wake: () => void = () => undefined;

  get stream(): FakeStream {
    const last = this.streams.at(-1);
    if (last === undefined) throw new Error("no stream was opened");
    return last;
  }

  connect(options: ClientOptions = {}): FleetClient {
    const client = connect({
      url: "http://edge.test",
      ...options,
      environment: {
        WebSocket: FakeSocket as unknown as typeof WebSocket,
        fetch: this.http.fetch as typeof fetch,
        random: () => this.random,
        onWake: (run) => {
          this.wake = run;
          return () => {
            this.wake = () => undefined;
          };
        },
        ...options.environment,
      },
    });
    this.clients.push(client);
    return client;
  }

  /** A client whose WebSocket is open. */
  async connected(options: ClientOptions = {}): Promise<FleetClient> {
    const client = this.connect(options);
    await settled();
    FakeSocket.last.open();
    await settled();
    return client;
  }

  streamsEvents(): void {
    this.http.on("GET /api/events?", (request) => {
      const stream = new FakeStream(request);
      this.streams.push(stream);
      return stream.response;
    });
  }
}

/** Call in `beforeEach` and `afterEach`. */
export function setUp(): FakeEdge {
  vi.useFakeTimers({ now: 1_800_000_000_000, toFake: ["setTimeout", "clearTimeout", "Date"] });
  FakeSocket.all = [];
  return new FakeEdge();
}

export function tearDown(edge: FakeEdge): void {
  for (const client of edge.clients) client.close();
  const left = vi.getTimerCount();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  if (left > 0) throw new Error(`${left} timers are left after close()`);
}

/** Until everything that waits for no timer has happened. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 50; i += 1) await vi.advanceTimersByTimeAsync(0);
}

export async function after(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await settled();
}

export function metrics(host: string, seq: number, epoch = 1_000, percent = 1): object {
  const data = {
    cpu: { percent, perCorePercent: [], cores: 1, load: [0, 0, 0] },
    memory: { totalBytes: 1, usedBytes: 1, availableBytes: 0, percent: 1 },
    swap: { totalBytes: 0, usedBytes: 0, percent: 0 },
    disks: [],
    diskIo: { readBytesPerSec: 0, writeBytesPerSec: 0 },
    network: [],
    temperatures: [],
    stale: [],
  };
  return { type: "metrics", host, epoch, seq, sampledAt: seq, data };
}

export function event(host: string, at: number, changes: object = {}): object {
  const base = { type: "event", host, containerId: "a".repeat(64), name: "web", from: "running", to: "exited", at };
  return { ...base, cause: "docker", ...changes };
}

export function roster(...hosts: string[]): object {
  const link = { state: "live" };
  const links = { metrics: link, containers: link, executor: link };
  const base = { status: "live", expected: "always", lastSeenAt: 0, labels: {} };
  return { type: "hosts", hosts: hosts.map((host) => ({ host, ...base, links })) };
}
