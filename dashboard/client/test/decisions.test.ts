/** The decisions that need no connection to be looked at. */

import { describe, expect, it } from "vitest";
import { DEFAULT_BACKOFF, delayAfter, FLOOR_MS, failuresAfter } from "../src/backoff.ts";
import { needed } from "../src/channels.ts";
import { type Measurements, offsetOf, remember } from "../src/clock.ts";
import { parseRetryAfter } from "../src/closing.ts";
import { createEventStreamReader } from "../src/event_stream.ts";
import { createSieve } from "../src/events.ts";
import { createGate } from "../src/gate.ts";
import { betterThan, DEFAULT_TRANSPORTS, whenAway, whenBlocked } from "../src/ladder.ts";
import { eventPaths } from "../src/last_events.ts";
import { checkMessage } from "../src/parse.ts";
import { createStates, isNewer } from "../src/states.ts";
import { bearerOf, expiryOf, renewAt } from "../src/token.ts";
import type { StateMessage } from "../src/types.ts";
import type { EventMessage } from "../src/wire.ts";
import { event, metrics } from "./fake_edge.ts";

describe("the backoff", () => {
  it("is spread over all of its range, and never below its floor or above its cap", () => {
    for (const failures of [1, 3, 7, 50, 5_000]) {
      const ceiling = Math.min(30_000, 500 * 2 ** (failures - 1));
      const delays = Array.from({ length: 1_000 }, (_, i) => delayAfter(failures, DEFAULT_BACKOFF, i / 999));
      expect(Math.min(...delays)).toBe(FLOOR_MS);
      expect(Math.max(...delays)).toBe(ceiling);
      const mean = delays.reduce((sum, delay) => sum + delay, 0) / delays.length;
      expect(mean / ceiling).toBeGreaterThan(0.49);
      expect(mean / ceiling).toBeLessThan(0.54); // half of it, and what the floor adds
    }
  });

  it("begins again after a healthy run alone", () => {
    expect(failuresAfter(6, null, DEFAULT_BACKOFF)).toBe(7);
    expect(failuresAfter(6, 29_999, DEFAULT_BACKOFF)).toBe(7);
    expect(failuresAfter(6, 30_000, DEFAULT_BACKOFF)).toBe(1);
  });

  it("reads Retry-After in seconds, and nothing else", () => {
    expect([null, "2", " 30 ", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "999999"].map(parseRetryAfter)).toEqual([
      null,
      2_000,
      30_000,
      null,
      null,
      null,
      null,
    ]);
  });
});

describe("states", () => {
  const v = (epoch: number, seq: number): { epoch: number; seq: number } => ({ epoch, seq });

  it("are newer by the run first, then within it", () => {
    const now = 10_000;
    expect(isNewer(v(1, 2), v(1, 1), now)).toBe(true);
    expect(isNewer(v(1, 1), v(1, 1), now)).toBe(false);
    expect(isNewer(v(2, 1), v(1, 99), now)).toBe(true);
    expect(isNewer(v(1, 99), v(2, 1), now)).toBe(false);
  });

  it("of a run that is named after a time that has not come give way", () => {
    const now = 1_000_000;
    expect(isNewer(v(now, 1), v(now + 60_000, 9), now)).toBe(false);
    expect(isNewer(v(now, 1), v(now + 60_001, 9), now)).toBe(true);
  });

  it("are bounded, and those that nobody wants are forgotten", () => {
    const states = createStates();
    for (let i = 0; i < 50_010; i += 1) states.take(metrics(`h${i}`, 1) as StateMessage, 0, true);
    expect(states.of("metrics", null)).toHaveLength(50_000);
    expect(states.of("metrics", "h0")).toEqual([]);
    states.prune((_, host) => host === "h49999");
    expect(states.of("metrics", null)).toHaveLength(1);
  });
});

describe("the clock", () => {
  it("goes by the quickest of the last eight answers", () => {
    let all: Measurements = [];
    const answer = (sentAt: number, tripMs: number, offset: number): void => {
      all = remember(all, { sentAt, receivedAt: sentAt + tripMs, serverTime: sentAt + tripMs / 2 + offset });
    };
    expect(offsetOf(all)).toBe(0);
    answer(0, 10, 500);
    answer(1_000, 400, 650);
    expect(offsetOf(all)).toBe(500);
    for (let i = 2; i < 10; i += 1) answer(i * 1_000, 300 + i, 600);
    expect(offsetOf(all)).toBe(600);
    expect(all).toHaveLength(8);
  });
});

describe("channels", () => {
  it("are widened where they are too many or too long, the kind with the most hosts first", () => {
    expect(needed(["metrics:a", "metrics:b", "usage:a", "metrics:a"], 2)).toEqual(["usage:a", "metrics"]);
    expect(needed(["metrics:a", "metrics:b", "usage:a"], 9, 20)).toEqual(["usage:a", "metrics"]);
    expect(needed(["metrics", "hosts", "events"], 1)).toEqual(["metrics", "hosts", "events"]);
  });

  it("of events are asked for all together where they are many", () => {
    expect(eventPaths(["metrics", "hosts"])).toEqual([]);
    expect(eventPaths(["events:a", "metrics:a"])).toEqual(["/api/hosts/a/events?limit=256"]);
    expect(eventPaths(["events:a", "events"])).toEqual(["/api/events/last?limit=500"]);
    expect(eventPaths(["events:a", "events:b", "events:c", "events:d", "events:e"])).toHaveLength(1);
  });
});

describe("transports", () => {
  const top = { transports: DEFAULT_TRANSPORTS, index: 0, blocked: 0 };

  it("are given up for the next one when they were blocked twice, and the last one never", () => {
    const twice = whenBlocked(whenBlocked(top));
    expect([whenBlocked(top).index, twice.index, twice.blocked]).toEqual([0, 1, 0]);
    expect(whenBlocked(whenBlocked(whenBlocked(whenBlocked(twice)))).index).toBe(2);
  });

  it("begin at the top again when the network was away, where one try decides then", () => {
    expect(whenAway({ ...top, index: 1 })).toMatchObject({ index: 0, blocked: 1 });
    expect(whenAway({ ...top, blocked: 1 })).toMatchObject({ index: 0, blocked: 0 });
  });

  it("that are better are tried in their turn", () => {
    expect([0, 1, 2].map((turn) => betterThan(top, "polling", turn))).toEqual(["websocket", "sse", "websocket"]);
    expect(betterThan(top, "sse", 5)).toBe("websocket");
    expect(betterThan(top, "websocket", 0)).toBeNull();
  });
});

describe("tokens", () => {
  const jwt = (claims: unknown): string => `e30.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.x`;

  it("say when they run out, or nothing", () => {
    expect(expiryOf(jwt({ exp: 1_700_000_000 }))).toBe(1_700_000_000_000);
    for (const token of [null, "", "abc", "a.b.c", jwt(null), jwt([]), jwt({ exp: "soon" }), "e30.!!.x"]) {
      expect(expiryOf(token)).toBeNull();
    }
  });

  it("are renewed a minute before, or in the last fifth of a short time", () => {
    expect(renewAt(3_600_000, 0)).toBe(3_540_000);
    expect(renewAt(100_000, 0)).toBe(80_000);
    expect(renewAt(1_000, 5_000)).toBe(1_000);
    expect(renewAt(null, 0)).toBeNull();
  });

  it("name who has them; a role that is not known may look only", () => {
    expect(bearerOf(jwt({ sub: "ann", role: "operator" }))).toEqual({ user: "ann", role: "operator" });
    expect(bearerOf("opaque")).toEqual({ user: "", role: "viewer" });
    expect(bearerOf(null)).toEqual({ user: "local", role: "admin" });
  });
});

describe("what comes from the wire", () => {
  it("is read where it is a message, whatever a later version has added", () => {
    const message = { ...metrics("web-1", 1), added: true };
    expect(checkMessage(message)).toBe(message);
    expect(checkMessage({ ...message, seq: Number.NaN })).toBe("malformed");
    expect(checkMessage({ ...message, data: null })).toBe("malformed");
    expect(checkMessage({ ...message, data: { cpu: {}, memory: {} } })).toBe("malformed");
    expect(checkMessage({ type: "hosts", hosts: [null] })).toBe("malformed");
    expect(checkMessage({ type: "later" })).toBe("unknown");
    for (const type of ["constructor", "__proto__", "hasOwnProperty"]) expect(checkMessage({ type })).toBe("unknown");
  });

  it("has no line without an end", () => {
    const reader = createEventStreamReader(100);
    expect(reader.read("data: 1\r\n\r\ndata:2\nretry: x\nretry: 5\n")).toEqual([
      { data: "1" },
      { data: "2" },
      { retryMs: 5 },
    ]);
    expect(reader.read("x".repeat(100))).toEqual([]);
    expect(reader.read("x")).toBeNull();
  });
});

describe("events", () => {
  it("are seen once each, as far back as is remembered", () => {
    const sieve = createSieve(2);
    const isNew = (at: number, changes: object = {}): boolean => sieve.isNew(event("h", at, changes) as EventMessage);
    expect([isNew(1), isNew(1), isNew(1, { health: "healthy" }), isNew(2), isNew(1)]).toEqual([
      true,
      false,
      true,
      true,
      true,
    ]);
  });
});

describe("a gate", () => {
  it("lets so many through at a time, and the next one after a failure too", async () => {
    const gate = createGate(2);
    const ends: (() => void)[] = [];
    let running = 0;
    const job = async (): Promise<void> => {
      running += 1;
      await new Promise<void>((resolve) => ends.push(resolve));
      running -= 1;
      throw new Error("no");
    };
    const all = [1, 2, 3, 4].map(() => gate(job).catch(() => "failed"));
    for (let i = 0; i < 4; i += 1) {
      expect(running).toBe(Math.min(2, 4 - i));
      ends.shift()?.();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    expect(await Promise.all(all)).toEqual(["failed", "failed", "failed", "failed"]);
  });
});
