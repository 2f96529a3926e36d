/** How a client keeps its WebSocket: attempts, their ends, and what it says of itself meanwhile. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Status } from "../src/index.ts";
import {
  after,
  type FakeEdge,
  FakeSocket,
  json,
  metrics,
  noNetwork,
  refusal,
  STATUS,
  settled,
  setUp,
  tearDown,
} from "./fake_edge.ts";

let edge: FakeEdge;
beforeEach(() => {
  edge = setUp();
});
afterEach(() => tearDown(edge));

describe("opening", () => {
  it("is connecting until the edge says connected, and open from then on", async () => {
    const client = edge.connect();
    expect(client.status).toMatchObject({ state: "connecting", transport: "websocket", attempt: 1, session: null });
    await settled();
    expect(FakeSocket.last.url).toBe("ws://edge.test/api/ws");
    FakeSocket.last.readyState = 1;
    expect(client.status.state).toBe("connecting");
    FakeSocket.last.open();
    expect(client.status).toMatchObject({
      state: "open",
      attempt: 0,
      retryAt: null,
      session: { clientId: "c-1", edgeId: "e-1", user: "ann", role: "operator" },
    });
  });

  it("gives each change of its status as a new object, and none without a change", async () => {
    const client = edge.connect();
    const seen: Status[] = [];
    const first = client.status;
    client.onStatus((status) => seen.push(status));
    await settled();
    FakeSocket.last.open();
    await settled();
    expect(first.state).toBe("connecting");
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.map((status) => status.state)).toEqual(["open", "open"]); // the second one with a latency
  });

  it("takes an address that is none for the caller's mistake", () => {
    expect(() => edge.connect({ url: "ftp://nowhere" })).toThrow("url: ftp://nowhere");
  });

  it("gives an attempt ten seconds", async () => {
    const client = edge.connect();
    await settled();
    const socket = FakeSocket.last;
    edge.http.on("GET /api/ws", noNetwork);
    await after(10_000);
    expect(socket.closedWith).toBe(1000);
    expect(client.status).toMatchObject({ state: "waiting", attempt: 1 });
    expect(client.status.lastError?.message).toBe("The edge could not be reached");
  });

  it("refuses an edge of another protocol, and stops", async () => {
    const client = edge.connect();
    await settled();
    FakeSocket.last.open({ protocol: 2 });
    await after(3_600_000);
    expect(client.status.state).toBe("refused");
    expect(FakeSocket.all).toHaveLength(1);
  });
});

describe("what an end means", () => {
  it.each([
    [1008, "refused"],
    [1009, "refused"],
    [4403, "refused"],
  ])("stops for good after %i", async (code, state) => {
    const client = await edge.connected();
    FakeSocket.last.end(code, "enough");
    expect(client.status).toMatchObject({ state, retryAt: null, lastError: { code } });
    expect(client.status.lastError?.message).toContain("enough");
    await after(3_600_000);
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(1);
    client.reconnect();
    await settled();
    expect(FakeSocket.all).toHaveLength(2);
  });

  it.each([1000, 1001, 1005, 1006, 1007, 1011, 1013, 4408, 4409])("comes back with backoff after %i", async (code) => {
    const client = await edge.connected();
    FakeSocket.last.end(code);
    expect(client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + 500, lastError: { code } });
    await after(499);
    expect(FakeSocket.all).toHaveLength(1);
    await after(1);
    expect(FakeSocket.all).toHaveLength(2);
    expect(client.status).toMatchObject({ state: "connecting", attempt: 1, retryAt: null });
  });

  it("comes back when a restarting edge says, which does not count as a failure", async () => {
    const client = await edge.connected();
    FakeSocket.last.end(1013);
    await after(500);
    for (const ms of [417, 60_000, 300]) {
      FakeSocket.last.open();
      FakeSocket.last.end(1012, `{"retryAfterMs": ${ms}}`);
      expect(client.status.retryAt).toBe(Date.now() + ms);
      await after(ms);
    }
    FakeSocket.last.open();
    FakeSocket.last.end(1013);
    expect(client.status.retryAt).toBe(Date.now() + 1_000); // the second failure
  });

  it("never comes back at once", async () => {
    const client = await edge.connected();
    FakeSocket.last.end(1012, '{"retryAfterMs": 0}');
    expect(client.status.retryAt).toBe(Date.now() + 100);
    await after(100);
    FakeSocket.last.open();
    edge.random = 0;
    FakeSocket.last.end(1006);
    expect(client.status.retryAt).toBe(Date.now() + 100);
  });

  it.each([
    "",
    "soon",
    "{}",
    '{"retryAfterMs": 60001}',
    '{"retryAfterMs": -1}',
    '{"retryAfterMs": 1.5}',
    '{"retryAfterMs": "5"}',
    "null",
  ])("takes the backoff where a restarting edge's reason is %j", async (reason) => {
    const client = await edge.connected();
    FakeSocket.last.end(1012, reason);
    expect(client.status.retryAt).toBe(Date.now() + 500);
  });

  it("waits twice as long each time, up to its limit, and from the beginning after a healthy run", async () => {
    const client = await edge.connected();
    const waits: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      FakeSocket.last.end(1006);
      await settled();
      waits.push((client.status.retryAt ?? 0) - Date.now());
      await after(waits.at(-1) ?? 0);
      FakeSocket.last.open();
      await after(29_000);
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    await after(1_000);
    FakeSocket.last.end(1006);
    expect(client.status.retryAt).toBe(Date.now() + 500);
  });

  it("tries now on request, without waiting for its turn", async () => {
    const client = await edge.connected();
    FakeSocket.last.end(1006);
    client.reconnect();
    await settled();
    expect(client.status.state).toBe("connecting");
    expect(FakeSocket.all).toHaveLength(2);
    await after(5_000);
    expect(FakeSocket.all).toHaveLength(2); // and not once more when its turn has come
  });

  it("opens another connection on request, and goes over to it without a gap", async () => {
    const client = await edge.connected();
    const states: string[] = [];
    client.onStatus((status) => states.push(status.state));
    const [first] = FakeSocket.all;
    client.reconnect();
    await settled();
    FakeSocket.last.open({ user: "bob" });
    await settled();
    expect(first?.closedWith).toBe(1000);
    expect(client.status.session?.user).toBe("bob");
    expect(new Set(states)).toEqual(new Set(["open"]));
  });
});

describe("why a WebSocket has not come about", () => {
  async function failing(): Promise<ReturnType<FakeEdge["connect"]>> {
    const client = edge.connect();
    await settled();
    FakeSocket.last.end(1006);
    await settled();
    return client;
  }

  it("is asked of the edge: no sign-in", async () => {
    edge.http.on("GET /api/ws", () => refusal(401, "unauthenticated", "sign in"));
    const client = await failing();
    expect(client.status.state).toBe("connecting"); // with another token, once
    FakeSocket.last.end(1006);
    await settled();
    expect(client.status).toMatchObject({ state: "signed-out", lastError: { code: 401 } });
  });

  it("is asked of the edge: another origin", async () => {
    edge.http.on("GET /api/ws", () => new Response("This page may not talk to this edge.\n", { status: 403 }));
    expect((await failing()).status).toMatchObject({ state: "refused", lastError: { code: 403 } });
  });

  it("is asked of the edge: not now, and no sooner than it says", async () => {
    edge.http.on("GET /api/ws", () => new Response("not now", { status: 503, headers: { "Retry-After": "7" } }));
    const client = await failing();
    expect(client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + 7_500, lastError: { code: 503 } });
    await after(5_000);
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(1);
    await after(2_100);
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(2);
  });

  it("is asked of the edge: it is about to go", async () => {
    edge.http.on("GET /api/ws", () => json({ ...STATUS, ready: false, reason: "this edge is about to go" }));
    const client = await failing();
    await after(500);
    FakeSocket.last.end(1006);
    await settled();
    expect(client.status).toMatchObject({ state: "waiting", transport: "websocket" });
    expect(client.status.lastError?.message).toContain("about to go");
  });

  it("is told where no one answers: no network", async () => {
    edge.http.on("GET /api/ws", noNetwork);
    const client = await failing();
    expect(client.status).toMatchObject({ state: "waiting", transport: "websocket", lastError: { code: null } });
  });
});

describe("a dead connection", () => {
  it("is found when two and a half heartbeats are missing", async () => {
    const client = await edge.connected();
    FakeSocket.last.answers = false;
    await after(2_000);
    FakeSocket.last.say({ type: "heartbeat", serverTime: Date.now() });
    await after(12_499);
    expect(client.status.state).toBe("open");
    await after(1);
    expect(client.status.state).toBe("waiting");
    expect(FakeSocket.last.closedWith).toBe(1000);
    expect(client.status.lastError?.message).toContain("not been heard of");
  });

  it("is not seen in a page whose timers are held back: it is asked first", async () => {
    const client = await edge.connected();
    vi.setSystemTime(Date.now() + 3_600_000); // asleep
    await after(12_500);
    expect(client.status.state).toBe("open");
    await after(60_000);
    expect(client.status.state).toBe("open");
    expect(FakeSocket.all).toHaveLength(1);
  });

  it("is found after a sleep all the same where nobody answers", async () => {
    const client = await edge.connected();
    FakeSocket.last.answers = false;
    vi.setSystemTime(Date.now() + 3_600_000);
    await after(12_500);
    expect(client.status.state).toBe("open");
    await after(5_000);
    expect(client.status.state).not.toBe("open");
  });

  it("is found soon after the page has woken up", async () => {
    const client = await edge.connected();
    FakeSocket.last.answers = false;
    edge.wake();
    await after(4_999);
    expect(client.status.state).toBe("open");
    await after(1);
    expect(client.status.state).toBe("waiting");
  });

  it("is tried again as soon as the page has woken up, but not in a loop", async () => {
    const client = await edge.connected();
    edge.random = 1;
    for (let i = 0; i < 5; i += 1) {
      FakeSocket.last.end(1006);
      await after(client.status.retryAt ? client.status.retryAt - Date.now() : 0);
      FakeSocket.last.open();
    }
    FakeSocket.last.end(1006);
    expect((client.status.retryAt ?? 0) - Date.now()).toBe(16_000);
    const sockets = FakeSocket.all.length;
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(sockets);
    await after(1_000);
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(sockets + 1);
  });
});

describe("the clock and the latency", () => {
  it("are measured with a ping when it opens and every five seconds", async () => {
    const client = await edge.connected();
    const socket = FakeSocket.last;
    const pings = (): number => socket.of("ping").filter((ping) => ping.nonce?.startsWith("p")).length;
    expect(pings()).toBe(1);
    await after(5_000);
    expect(pings()).toBe(2);
    expect(client.status.latencyMs).toBe(0);
    socket.answers = false;
    await after(5_000);
    const nonce = socket.of("ping").at(-1)?.nonce;
    await after(80);
    socket.say({ type: "heartbeat", serverTime: Date.now() + 60_000, nonce });
    expect(client.status.latencyMs).toBe(80);
    expect(client.now()).toBe(Date.now()); // the slow answer says less than the quick ones
    socket.end(1006);
    expect(client.status.latencyMs).toBeNull();
  });

  it("give the time on Redis' clock", async () => {
    const client = edge.connect();
    await settled();
    FakeSocket.last.answers = false;
    FakeSocket.last.open();
    await after(100);
    FakeSocket.last.say({ type: "heartbeat", serverTime: Date.now() + 5_000, nonce: "p1" });
    expect(client.now() - Date.now()).toBe(5_050);
  });
});

describe("what cannot be read", () => {
  it("is left out, and the connection goes on", async () => {
    const client = await edge.connected();
    const seen: unknown[] = [];
    client.subscribe("metrics", (message) => seen.push(message));
    const socket = FakeSocket.last;
    for (const text of ["{", "null", "[]", '{"type":7}', '{"type":"metrics","host":"web-1"}', '{"type":"error"}'])
      socket.say(text);
    socket.say({ type: "from-a-later-version", data: 1 });
    socket.say({ type: "toString" });
    socket.onmessage?.({ data: new ArrayBuffer(4) });
    expect(client.status.state).toBe("open");
    expect(client.status.lastError?.message).toContain("no message");
    socket.say(metrics("web-1", 1));
    expect(seen).toHaveLength(1);
  });
});

describe("close()", () => {
  it("ends everything, for good", async () => {
    const client = await edge.connected();
    client.subscribe("metrics", () => undefined);
    await after(5_000);
    client.close();
    expect(client.status.state).toBe("closed");
    expect(vi.getTimerCount()).toBe(0);
    expect(FakeSocket.last.closedWith).toBe(1000);
    client.reconnect();
    client.close();
    await after(3_600_000);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it("leaves no timer whenever it comes", async () => {
    const early = edge.connect();
    early.close();
    expect(vi.getTimerCount()).toBe(0);
    const waiting = edge.connect();
    await settled();
    FakeSocket.last.end(1013);
    waiting.close();
    expect(vi.getTimerCount()).toBe(0);
    const asking = edge.connect();
    await settled();
    FakeSocket.last.end(1006);
    asking.close();
    await settled();
    expect(vi.getTimerCount()).toBe(0);
    expect(asking.status.state).toBe("closed");
  });
});
