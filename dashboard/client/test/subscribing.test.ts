/** Subscriptions: who gets which message, and what the edge is asked for. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Channel } from "../src/index.ts";
import {
  after,
  event,
  type FakeEdge,
  FakeSocket,
  json,
  metrics,
  roster,
  settled,
  setUp,
  tearDown,
} from "./fake_edge.ts";

let edge: FakeEdge;
beforeEach(() => {
  edge = setUp();
});
afterEach(() => tearDown(edge));

type Numbered = { host: string; epoch: number; seq: number };

describe("subscribing", () => {
  it("asks for what was asked for in one go with one message", async () => {
    const client = await edge.connected();
    client.subscribe("hosts", () => undefined);
    client.subscribe("metrics:web-1", () => undefined);
    client.subscribe("events", () => undefined);
    await settled();
    expect(FakeSocket.last.of("subscribe")).toEqual([
      { type: "subscribe", channels: ["hosts", "metrics:web-1", "events"] },
    ]);
  });

  it("asks for nothing twice, and gives back only what nobody wants any more", async () => {
    const client = await edge.connected();
    const first = client.subscribe("metrics:web-1", () => undefined);
    const second = client.subscribe("metrics:web-1", () => undefined);
    await settled();
    first();
    first();
    await after(1_000);
    expect(FakeSocket.last.of("unsubscribe")).toEqual([]);
    second();
    await after(1_000);
    expect(FakeSocket.last.of("subscribe")).toHaveLength(1);
    expect(FakeSocket.last.of("unsubscribe")).toEqual([{ type: "unsubscribe", channels: ["metrics:web-1"] }]);
  });

  it("says nothing of what was taken back in the same go", async () => {
    const client = await edge.connected();
    client.subscribe("usage", () => undefined)();
    await after(1_000);
    expect(FakeSocket.last.of("subscribe")).toEqual([]);
  });

  it("costs nothing beside its kind's alone, and goes on when that goes", async () => {
    const client = await edge.connected();
    const seen: number[] = [];
    const wide = client.subscribe("metrics", () => undefined);
    client.subscribe("metrics:web-1", (message) => seen.push(message.seq));
    await settled();
    expect(FakeSocket.last.channels).toEqual(["metrics"]);
    FakeSocket.last.say(metrics("web-1", 1));
    FakeSocket.last.say(metrics("web-2", 1));
    wide();
    await after(1_000);
    expect(FakeSocket.last.channels).toEqual(["metrics:web-1"]);
    FakeSocket.last.say(metrics("web-1", 2));
    expect(seen).toEqual([1, 2]);
  });

  it("changes no more often than an edge reads, however often a page does", async () => {
    const client = await edge.connected();
    for (let i = 0; i < 100; i += 1) {
      client.subscribe(`metrics:web-${i}`, () => undefined);
      await after(16);
    }
    expect(FakeSocket.last.of("subscribe").length).toBeLessThan(13);
    await after(200);
    expect(FakeSocket.last.channels).toHaveLength(100);
  });

  it("gives a second subscriber at once what is known, of its host or of all", async () => {
    const client = await edge.connected();
    client.subscribe("metrics", () => undefined);
    client.subscribe("hosts", () => undefined);
    await settled();
    FakeSocket.last.say(metrics("web-1", 1));
    FakeSocket.last.say(metrics("web-2", 5));
    FakeSocket.last.say(roster("web-1", "web-2"));
    const one = vi.fn<(message: Numbered) => void>();
    const all = vi.fn<(message: Numbered) => void>();
    const hosts = vi.fn();
    client.subscribe("metrics:web-1", one);
    client.subscribe("metrics", all);
    client.subscribe("hosts", hosts);
    await settled();
    expect(one.mock.calls.map(([m]) => [m.host, m.seq])).toEqual([["web-1", 1]]);
    expect(all.mock.calls.map(([m]) => [m.host, m.seq])).toEqual([
      ["web-1", 1],
      ["web-2", 5],
    ]);
    expect(hosts).toHaveBeenCalledOnce();
    expect(FakeSocket.last.of("subscribe")).toHaveLength(1);
  });

  it("gives nothing old to who subscribes after the last one has gone", async () => {
    const client = await edge.connected();
    const off = client.subscribe("metrics:web-1", () => undefined);
    await settled();
    FakeSocket.last.say(metrics("web-1", 1));
    off();
    await after(1_000);
    const seen = vi.fn();
    client.subscribe("metrics:web-1", seen);
    await after(1_000);
    expect(seen).not.toHaveBeenCalled();
    FakeSocket.last.say(metrics("web-1", 1));
    expect(seen).toHaveBeenCalledOnce();
  });

  it("goes on for the others where one of them throws, and reports that", async () => {
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const client = await edge.connected();
    const seen = vi.fn();
    client.subscribe("metrics", () => {
      throw new Error("a page's mistake");
    });
    client.subscribe("metrics:web-1", seen);
    client.onStatus(() => {
      throw new Error("another one");
    });
    await settled();
    FakeSocket.last.say(metrics("web-1", 1));
    FakeSocket.last.say(metrics("web-1", 3));
    expect(seen).toHaveBeenCalledTimes(2);
    expect(reported.mock.calls.map(([error]) => String(error))).toContain("Error: a page's mistake");
    expect(reported.mock.calls.map(([error]) => String(error))).toContain("Error: another one");
    expect(client.status.state).toBe("open");
  });

  it("takes a channel that is none for the caller's mistake", async () => {
    const client = await edge.connected();
    for (const channel of [
      "metric",
      "metrics:",
      "metrics:a b",
      "hosts:web-1",
      "metrics:a:b",
      `usage:${"x".repeat(65)}`,
    ]) {
      expect(() => client.subscribe(channel as Channel, () => undefined)).toThrow("no such channel");
    }
  });
});

describe("the edge's limits", () => {
  it("are kept: no message names too many channels", async () => {
    const client = await edge.connected();
    for (let i = 0; i < 900; i += 1) client.subscribe(`metrics:${"h".repeat(60)}${i}`, () => undefined);
    await settled();
    const messages = FakeSocket.last.of("subscribe");
    expect(FakeSocket.last.channels).toHaveLength(900);
    expect(Math.max(...messages.map((message) => JSON.stringify(message).length))).toBeLessThan(60_000);
    expect(messages).toHaveLength(2);
  });

  it("are kept: more hosts than may be named one by one are all of their kind", async () => {
    const client = await edge.connected();
    const seen = vi.fn();
    for (let i = 0; i < 1_000; i += 1) client.subscribe(`usage:web-${i}`, () => undefined);
    client.subscribe("metrics:web-1", seen);
    await settled();
    expect(FakeSocket.last.channels).toEqual(["metrics:web-1", "usage"]);
  });
});

describe("what the edge refuses", () => {
  /** An edge that knows who may see what: one wrong name subscribes to none of a message. */
  async function edgeThatForbids(...hidden: string[]): Promise<ReturnType<FakeEdge["connect"]>> {
    const client = edge.connect();
    await settled();
    forbid(FakeSocket.last, hidden);
    FakeSocket.last.open();
    await settled();
    return client;
  }

  function forbid(socket: FakeSocket, hidden: string[]): string[] {
    const got = new Set<string>();
    granted.push(got);
    const send = socket.send.bind(socket);
    socket.send = (text) => {
      const message = JSON.parse(text);
      if (message.type === "subscribe") {
        const wrong = message.channels.find((channel: string) => hidden.some((host) => channel.endsWith(`:${host}`)));
        if (wrong === undefined) for (const channel of message.channels) got.add(channel);
        else {
          refusals += 1;
          queueMicrotask(() => socket.say({ type: "error", code: "forbidden", message: `not for ${wrong}` }));
        }
      }
      send(text);
    };
    return [...got];
  }
  const granted: Set<string>[] = [];
  let refusals = 0;
  beforeEach(() => {
    granted.length = 0;
    refusals = 0;
  });

  it("does not keep the rest from coming, and is named", async () => {
    const client = await edgeThatForbids("db-1");
    for (const channel of ["hosts", "metrics:web-1", "metrics:db-1", "usage:web-2"] as const) {
      client.subscribe(channel, () => undefined);
    }
    await after(2_000);
    expect([...(granted[0] ?? [])].sort()).toEqual(["hosts", "metrics:web-1", "usage:web-2"]);
    expect(client.status.lastError?.message).toContain("metrics:db-1");
    expect(client.status.state).toBe("open");
  });

  it("is not asked for again with each connection, but when somebody signs in", async () => {
    const client = await edgeThatForbids("db-1");
    client.subscribe("hosts", () => undefined);
    client.subscribe("metrics:db-1", () => undefined);
    await after(2_000);
    FakeSocket.last.end(1006);
    await after(500);
    forbid(FakeSocket.last, []);
    FakeSocket.last.open();
    await after(500);
    expect(FakeSocket.last.channels).toEqual(["hosts"]);
    client.reconnect();
    await settled();
    FakeSocket.last.open();
    await settled();
    expect(FakeSocket.last.channels).toEqual(["hosts", "metrics:db-1"]);
  });

  it("is found slowly enough that the edge does not close the connection", async () => {
    const hidden = Array.from({ length: 40 }, (_, i) => `db-${i}`);
    const client = await edgeThatForbids(...hidden);
    for (const host of hidden) client.subscribe(`metrics:${host}`, () => undefined);
    await after(60_000);
    expect(refusals).toBeLessThan(20);
    expect(refusals).toBeGreaterThan(8);
  });

  it("was not read at all where there was too much at once: it is asked for again", async () => {
    const client = await edge.connected();
    client.subscribe("hosts", () => undefined);
    await settled();
    FakeSocket.last.say({ type: "error", code: "rate-limited", message: "too many messages; this one was not read" });
    await after(2_000);
    expect(FakeSocket.last.of("subscribe")).toHaveLength(2);
  });
});

describe("after a reconnect", () => {
  it("all is subscribed to again, and what has gone meanwhile is not", async () => {
    const client = await edge.connected();
    client.subscribe("metrics:web-1", () => undefined);
    const off = client.subscribe("usage:web-1", () => undefined);
    await settled();
    FakeSocket.last.end(1006);
    off();
    client.subscribe("hosts", () => undefined);
    await after(500);
    FakeSocket.last.open();
    await settled();
    expect(FakeSocket.last.of("subscribe")).toHaveLength(1);
    expect(FakeSocket.last.channels).toEqual(["hosts", "metrics:web-1"]);
  });

  it("nothing jumps back: what another edge still has of before is dropped", async () => {
    const client = await edge.connected();
    const seen: [number, number][] = [];
    client.subscribe("metrics:web-1", ({ epoch, seq }) => seen.push([epoch, seq]));
    await settled();
    FakeSocket.last.say(metrics("web-1", 7, 1_000));
    FakeSocket.last.end(1006);
    await after(500);
    FakeSocket.last.open();
    for (const [epoch, seq] of [
      [1_000, 6],
      [1_000, 7],
      [900, 99],
      [1_000, 8],
      [2_000, 1],
      [1_000, 9],
    ] as const) {
      FakeSocket.last.say(metrics("web-1", seq, epoch));
    }
    expect(seen).toEqual([
      [1_000, 7],
      [1_000, 8],
      [2_000, 1],
    ]);
  });

  it("a run that a wrong clock has put into the future does not keep the right ones out", async () => {
    const client = await edge.connected();
    const seen: number[] = [];
    client.subscribe("metrics:web-1", ({ epoch }) => seen.push(epoch));
    await settled();
    FakeSocket.last.say(metrics("web-1", 1, Date.now() + 86_400_000));
    FakeSocket.last.say(metrics("web-1", 1, Date.now() - 1_000));
    expect(seen).toHaveLength(2);
  });

  it("the events of the time between are handed out first, each once", async () => {
    const client = await edge.connected();
    const seen: number[] = [];
    client.subscribe("events", ({ at }) => seen.push(at));
    await settled();
    const now = Date.now();
    FakeSocket.last.say(event("web-1", now - 5_000));
    FakeSocket.last.say(event("web-1", now));
    FakeSocket.last.end(1006);
    edge.http.on("GET /api/events/last", async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const ats = [now - 60_000, now - 5_000, now, now + 100, now + 700];
      return json({ events: ats.map((at) => event("web-1", at)) });
    });
    await after(500);
    FakeSocket.last.open();
    FakeSocket.last.say(event("web-1", now + 700));
    FakeSocket.last.say(event("web-1", now + 800));
    await settled();
    expect(seen).toEqual([now - 5_000, now]);
    await after(1_000);
    expect(seen).toEqual([now - 5_000, now, now + 100, now + 700, now + 800]);
  });

  it("the events that an edge has not heard yet, for it has just begun, come a little later", async () => {
    const client = await edge.connected();
    const seen: number[] = [];
    client.subscribe("events", ({ at }) => seen.push(at));
    await settled();
    FakeSocket.last.end(1012, '{"retryAfterMs": 100}');
    const now = Date.now();
    const ats = [now + 10];
    edge.http.on("GET /api/events/last", () => json({ events: ats.map((at) => event("web-1", at)) }));
    await after(100);
    FakeSocket.last.open();
    await settled();
    ats.push(now + 20);
    FakeSocket.last.say(event("web-1", now + 30));
    await after(2_999);
    expect(seen).toEqual([now + 10, now + 30]);
    await after(1);
    expect(seen).toEqual([now + 10, now + 30, now + 20]);
    await after(60_000);
    expect(edge.http.asked("GET /api/events/last")).toHaveLength(2);
  });

  it("events come all the same where those of the time between cannot be had", async () => {
    const client = await edge.connected();
    const seen: number[] = [];
    client.subscribe("events:web-1", ({ at }) => seen.push(at));
    await settled();
    FakeSocket.last.end(1006);
    edge.http.on("GET /api/hosts/web-1/events", () => new Promise(() => undefined));
    await after(500);
    FakeSocket.last.open();
    await settled();
    FakeSocket.last.say(event("web-1", 1));
    await after(5_000);
    expect(seen).toEqual([1]);
    expect(client.status.lastError?.message).toContain("missing");
  });
});

describe("frames that were left out", () => {
  it("are counted over ten seconds, within one run of one connection", async () => {
    const client = await edge.connected();
    client.subscribe("metrics", () => undefined);
    await settled();
    const socket = FakeSocket.last;
    socket.say(metrics("web-1", 5));
    expect(client.status.skippedFrames).toBe(0);
    socket.say(metrics("web-1", 6));
    socket.say(metrics("web-1", 9));
    expect(client.status.skippedFrames).toBe(2);
    await after(6_000);
    socket.say(metrics("web-1", 11));
    socket.say(metrics("web-1", 1, 2_000));
    expect(client.status.skippedFrames).toBe(3);
    await after(5_000);
    expect(client.status.skippedFrames).toBe(1);
    await after(5_000);
    expect(client.status.skippedFrames).toBe(0);
    socket.end(1006);
    await after(500);
    FakeSocket.last.open();
    FakeSocket.last.say(metrics("web-1", 90, 2_000));
    expect(client.status.skippedFrames).toBe(0);
  });
});
