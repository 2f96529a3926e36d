/** Where WebSocket does not get through: server-sent events, then polling, and the way back. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FleetClient } from "../src/index.ts";
import {
  after,
  CONNECTED,
  event,
  type FakeEdge,
  FakeSocket,
  json,
  metrics,
  noNetwork,
  refusal,
  roster,
  STATUS,
  settled,
  setUp,
  tearDown,
} from "./fake_edge.ts";

let edge: FakeEdge;
beforeEach(() => {
  edge = setUp();
  edge.streamsEvents();
  edge.http.on("GET /api/hosts", () => json(roster("web-1", "web-2")));
});
afterEach(() => tearDown(edge));

/** WebSockets fail; the edge answers. */
async function withoutSockets(client: FleetClient): Promise<void> {
  await settled();
  FakeSocket.last.end(1006);
  await settled();
  expect(client.status).toMatchObject({ state: "waiting", transport: "websocket" });
  await after(500);
  FakeSocket.last.end(1006);
  await settled();
}

async function onStream(): Promise<FleetClient> {
  const client = edge.connect();
  client.subscribe("metrics:web-1", () => undefined);
  await withoutSockets(client);
  edge.stream.say(CONNECTED);
  await settled();
  expect(client.status).toMatchObject({ state: "open", transport: "sse" });
  return client;
}

describe("the way down", () => {
  it("is server-sent events after two WebSockets that did not come about while the edge answered", async () => {
    const client = edge.connect({ token: () => "t" });
    client.subscribe("hosts", () => undefined);
    client.subscribe("metrics:web-1", () => undefined);
    await withoutSockets(client);
    expect(client.status).toMatchObject({ state: "connecting", transport: "sse" });
    expect(client.status.lastError?.message).toContain("websocket does not get through");
    expect(edge.stream.channels).toEqual(["hosts", "metrics:web-1"]);
    expect(edge.stream.request.token).toBe("Bearer t");
    edge.stream.say(CONNECTED);
    await settled();
    expect(client.status).toMatchObject({ state: "open", transport: "sse", session: { user: "ann" } });
  });

  it("is not taken where the edge does not answer either", async () => {
    const client = edge.connect();
    edge.http.on("GET /api/ws", noNetwork);
    for (let i = 0; i < 5; i += 1) {
      await settled();
      FakeSocket.last.end(1006);
      await settled();
      expect(client.status).toMatchObject({ state: "waiting", transport: "websocket" });
      await after(30_000);
    }
    expect(edge.streams).toEqual([]);
  });

  it("is not taken for two failures that did not come in a row", async () => {
    const client = edge.connect();
    await settled();
    FakeSocket.last.end(1006);
    await after(500);
    FakeSocket.last.open();
    FakeSocket.last.end(1006);
    await after(5_000);
    FakeSocket.last.end(1006);
    await settled();
    expect(client.status).toMatchObject({ state: "waiting", transport: "websocket" });
  });

  it("is polling where a stream brings nothing through", async () => {
    const client = edge.connect();
    await withoutSockets(client);
    await after(10_000);
    expect(edge.stream.isAborted).toBe(true);
    expect(client.status).toMatchObject({ state: "waiting", transport: "sse" });
    await after(30_000);
    expect(client.status).toMatchObject({ state: "open", transport: "polling" });
  });

  it("begins at the top again where there was no network at all", async () => {
    const client = await onStream();
    edge.http.on("GET /api", noNetwork);
    edge.http.on("GET /api/ws", noNetwork);
    edge.http.on("GET /api/events?", noNetwork);
    edge.stream.end();
    await after(500);
    await after(30_000);
    expect(client.status.transport).toBe("websocket");
  });

  it("has only the transports that are given, in their order", async () => {
    const client = edge.connect({ transports: ["polling"] });
    await settled();
    expect(client.status).toMatchObject({ state: "open", transport: "polling" });
    expect(FakeSocket.all).toEqual([]);
    const only = edge.connect({ transports: ["websocket"] });
    for (let i = 0; i < 5; i += 1) {
      await settled();
      FakeSocket.last.end(1006);
      await after(30_000);
    }
    expect(only.status.transport).toBe("websocket");
  });

  it("is taken where there is no WebSocket in this browser", async () => {
    const client = edge.connect({ environment: { WebSocket: undefined as unknown as typeof WebSocket } });
    await after(1_000);
    expect(client.status.transport).toBe("sse");
  });
});

describe("the way back", () => {
  it("is tried every minute beside the stream, and taken without a gap", async () => {
    const client = await onStream();
    const states = new Set<string>();
    client.onStatus(({ state }) => states.add(state));
    const sockets = FakeSocket.all.length;
    for (let i = 0; i < 12; i += 1) {
      await after(5_000);
      edge.stream.say({ type: "heartbeat", serverTime: Date.now() });
      await settled();
    }
    expect(FakeSocket.all).toHaveLength(sockets + 1);
    FakeSocket.last.end(1006);
    await settled();
    expect(client.status).toMatchObject({ state: "open", transport: "sse" });
    for (let i = 0; i < 12; i += 1) {
      await after(5_000);
      edge.stream.say({ type: "heartbeat", serverTime: Date.now() });
      await settled();
    }
    expect(FakeSocket.all).toHaveLength(sockets + 2);
    expect(edge.stream.isAborted).toBe(false);
    FakeSocket.last.open();
    await settled();
    expect(client.status).toMatchObject({ state: "open", transport: "websocket" });
    expect(edge.stream.isAborted).toBe(true);
    expect(FakeSocket.last.channels).toEqual(["metrics:web-1"]);
    expect([...states]).toEqual(["open"]);
    await after(120_000);
    expect(FakeSocket.all).toHaveLength(sockets + 2);
  });
});

describe("the way back from polling", () => {
  it("loses no event of the time since its last round", async () => {
    let ats: number[] = [];
    edge.http.on("GET /api/events/last", () => json({ events: ats.map((at) => event("web-1", at)) }));
    const client = edge.connect({ transports: ["websocket", "polling"], pollIntervalMs: 30_000 });
    const seen: number[] = [];
    client.subscribe("events", ({ at }) => seen.push(at));
    await withoutSockets(client);
    expect(client.status).toMatchObject({ state: "open", transport: "polling" });
    await after(59_999);
    ats = [Date.now() - 20_000];
    await after(1);
    FakeSocket.last.open();
    await settled();
    expect(client.status.transport).toBe("websocket");
    expect(seen).toEqual(ats);
  });
});

describe("server-sent events", () => {
  it("bring messages, however the network cuts them", async () => {
    const client = await onStream();
    const seen: number[] = [];
    client.subscribe("metrics:web-1", ({ seq }) => seen.push(seq));
    const text = [1, 2, 3].map((seq) => `data: ${JSON.stringify(metrics("web-1", seq))}\n\n`).join("");
    for (const part of text.match(/[\s\S]{1,7}/g) ?? []) edge.stream.write(part);
    edge.stream.write(": a comment\n\nid: 7\n\ndata: {broken\n\n");
    await settled();
    expect(seen).toEqual([1, 2, 3]);
    expect(client.status.state).toBe("open");
  });

  it("begin a new stream for other channels, and end the old one when that has come", async () => {
    const client = await onStream();
    const [old] = edge.streams;
    await after(1_000);
    const seen: number[] = [];
    client.subscribe("metrics:web-1", ({ seq }) => seen.push(seq));
    client.subscribe("hosts", () => undefined);
    await settled();
    expect(edge.streams).toHaveLength(2);
    expect(edge.stream.channels).toEqual(["hosts", "metrics:web-1"]);
    old?.say(metrics("web-1", 1));
    await settled();
    expect(old?.isAborted).toBe(false);
    edge.stream.say(CONNECTED);
    edge.stream.say(metrics("web-1", 1));
    edge.stream.say(metrics("web-1", 2));
    await settled();
    expect(old?.isAborted).toBe(true);
    expect(seen).toEqual([1, 2]);
    expect(client.status).toMatchObject({ state: "open", transport: "sse" });
  });

  it("come back when a restarting edge says", async () => {
    const client = await onStream();
    edge.stream.write("retry: 417\n\n");
    edge.stream.end();
    await settled();
    expect(client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + 417 });
    await after(417);
    expect(edge.streams).toHaveLength(2);
  });

  it("are lost where they end without a word", async () => {
    const client = await onStream();
    edge.stream.end();
    await settled();
    expect(client.status).toMatchObject({ state: "waiting", transport: "sse" });
    expect((client.status.retryAt ?? 0) - Date.now()).toBeGreaterThan(417);
  });

  it("are found dead when two and a half heartbeats are missing", async () => {
    const client = await onStream();
    await after(12_499);
    expect(client.status.state).toBe("open");
    await after(1);
    expect(client.status.state).toBe("waiting");
    expect(edge.stream.isAborted).toBe(true);
  });

  it("are not tried sooner than a busy edge says", async () => {
    const client = edge.connect({ transports: ["sse"] });
    await settled();
    edge.stream.say(CONNECTED);
    await settled();
    edge.http.on("GET /api/events?", () => new Response("not now", { status: 503, headers: { "Retry-After": "7" } }));
    edge.stream.end();
    await after(500);
    expect(client.status).toMatchObject({ state: "waiting", lastError: { code: 503 } });
    expect(client.status.retryAt).toBe(Date.now() + 7_000 + 1_000);
    edge.wake();
    await after(6_999);
    expect(client.status.attempt).toBe(1);
  });

  it("ask for another token once where the edge does not take the first", async () => {
    const token = vi.fn(() => `t${token.mock.calls.length}`);
    edge.http.on("GET /api/events?", () => refusal(401, "unauthenticated", "no"));
    const client = edge.connect({ transports: ["sse"], token });
    await settled();
    expect(client.status).toMatchObject({ state: "signed-out", lastError: { code: 401 } });
    expect(token.mock.calls.length).toBeLessThan(6);
  });

  it("go on without the hosts that one may not see", async () => {
    edge.http.on("GET /api/events?", (request) => {
      if (request.path.includes("db-1")) return refusal(403, "forbidden", "not for db-1");
      edge.streamsEvents();
      return edge.http.fetch(`http://edge.test${request.path}`);
    });
    const client = edge.connect({ transports: ["sse"] });
    for (const channel of ["metrics:web-1", "metrics:db-1"] as const) client.subscribe(channel, () => undefined);
    await settled();
    await after(1_000);
    expect(edge.stream.channels).toEqual(["metrics:web-1"]);
    expect(client.status.lastError?.message).toContain("metrics:db-1");
  });

  it("name all hosts where their names would make too long an address", async () => {
    const client = edge.connect({ transports: ["sse"] });
    for (let i = 0; i < 400; i += 1) client.subscribe(`usage:web-server-number-${i}`, () => undefined);
    await settled();
    await after(1_000);
    expect(edge.stream.channels).toEqual(["usage"]);
  });
});

describe("polling", () => {
  function polled(): FleetClient {
    return edge.connect({ transports: ["polling"], pollIntervalMs: 1_000 });
  }

  it("asks for what is wanted, of each host of the roster, four at a time", async () => {
    const hosts = Array.from({ length: 10 }, (_, i) => `web-${i}`);
    edge.http.on("GET /api/hosts", () => json(roster(...hosts)));
    let running = 0;
    let most = 0;
    for (const host of hosts) {
      edge.http.on(`GET /api/hosts/${host}/metrics`, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 10));
        running -= 1;
        return json(metrics(host, 1));
      });
    }
    const client = polled();
    const seen = new Set<string>();
    const rosters = vi.fn();
    client.subscribe("metrics", ({ host }) => seen.add(host));
    client.subscribe("hosts", rosters);
    await after(100);
    expect([...seen].sort()).toEqual([...hosts].sort());
    expect(most).toBe(4);
    expect(rosters).toHaveBeenCalled();
    expect(client.status).toMatchObject({ state: "open", transport: "polling", skippedFrames: 0 });
    expect(client.status.session).toMatchObject({ edgeId: "e-1", user: "local", role: "admin" });
  });

  it("goes round again after a pause, and at once for what is new", async () => {
    edge.http.on("GET /api/hosts/web-1/metrics", () => json(metrics("web-1", Date.now())));
    const client = polled();
    const seen: number[] = [];
    client.subscribe("metrics:web-1", ({ seq }) => seen.push(seq));
    await settled();
    expect(seen).toHaveLength(1);
    await after(999);
    expect(seen).toHaveLength(1);
    await after(1);
    expect(seen).toHaveLength(2);
    edge.http.on("GET /api/hosts/web-2/usage", () =>
      json({
        type: "usage",
        host: "web-2",
        epoch: 1,
        seq: 1,
        sampledAt: 1,
        data: { ids: [], cpuPercent: [], memoryBytes: [] },
      }),
    );
    const usage = vi.fn();
    client.subscribe("usage:web-2", usage);
    await after(200);
    expect(usage).toHaveBeenCalledOnce();
  });

  it("hands out each event once, and none from before", async () => {
    let ats = [1, 2];
    edge.http.on("GET /api/events/last", () => json({ events: ats.map((at) => event("web-1", at)) }));
    const client = polled();
    const seen: number[] = [];
    client.subscribe("events:web-1", ({ at }) => seen.push(at));
    client.subscribe("events", () => undefined);
    await settled();
    ats = [1, 2, 3];
    await after(1_000);
    ats = [2, 3, 4];
    await after(3_000);
    expect(seen).toEqual([3, 4]);
  });

  it("hands out those of the time without a connection", async () => {
    const client = await onStream();
    const seen: number[] = [];
    client.subscribe("events", ({ at }) => seen.push(at));
    await after(1_000);
    edge.stream.say(CONNECTED);
    await settled();
    const now = Date.now();
    edge.http.on("GET /api/events/last", () =>
      json({ events: [now - 60_000, now + 5].map((at) => event("web-1", at)) }),
    );
    edge.http.on("GET /api/events?", () => new Promise(() => undefined));
    edge.stream.end();
    for (let i = 0; i < 10; i += 1) await after(10_000);
    expect(client.status.transport).toBe("polling");
    expect(seen).toEqual([now + 5]);
  });

  it("goes on where one host has nothing, or is not for this user", async () => {
    edge.http.on("GET /api/hosts/web-1/metrics", () => refusal(403, "forbidden", "not for you"));
    edge.http.on("GET /api/hosts/web-2/metrics", () => json(metrics("web-2", 1)));
    const client = polled();
    const seen: string[] = [];
    for (const host of ["web-1", "web-2", "web-3"]) client.subscribe(`metrics:${host}`, (m) => seen.push(m.host));
    await settled();
    expect(seen).toEqual(["web-2"]);
    expect(client.status.state).toBe("open");
  });

  it("ends where the edge is away, and signs out where the edge wants another token", async () => {
    const client = polled();
    await settled();
    edge.http.on("GET /api/ws", noNetwork);
    await after(1_000);
    expect(client.status).toMatchObject({ state: "waiting", lastError: { code: null } });
    edge.http.on("GET /api/ws", () => refusal(401, "unauthenticated", "no"));
    await after(30_000);
    expect(client.status.state).toBe("signed-out");
  });

  it("stops where the edge speaks another protocol", async () => {
    edge.http.on("GET /api/ws", () => json({ ...STATUS, protocol: 2 }));
    const client = polled();
    await settled();
    expect(client.status.state).toBe("refused");
  });
});
