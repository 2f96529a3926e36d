/** Tokens: how they get to the edge, when another one is asked for, and what happens where none helps. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FleetcastError } from "../src/index.ts";
import { after, type FakeEdge, FakeSocket, json, noNetwork, refusal, settled, setUp, tearDown } from "./fake_edge.ts";

let edge: FakeEdge;
beforeEach(() => {
  edge = setUp();
});
afterEach(() => tearDown(edge));

/** A JWT that is good for so long from now. */
function jwt(forSec: number, claims: object = {}): string {
  const payload = JSON.stringify({ sub: "zoë", role: "operator", exp: Date.now() / 1000 + forSec, ...claims });
  const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(payload)));
  return `e30.${encoded.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}.${Math.random().toString(36).slice(2)}`;
}

describe("a token", () => {
  it("goes with the subprotocols, never in the address, and is asked for before each attempt", async () => {
    const token = vi.fn(async () => "t.1");
    const client = edge.connect({ token });
    await settled();
    expect(FakeSocket.last.protocols).toEqual(["fleetcast.v1", "bearer.t.1"]);
    expect(FakeSocket.last.url).toBe("ws://edge.test/api/ws");
    FakeSocket.last.open();
    FakeSocket.last.end(1006);
    token.mockResolvedValue("t.2");
    await after(500);
    expect(FakeSocket.last.protocols).toEqual(["fleetcast.v1", "bearer.t.2"]);
    expect(client.status.state).toBe("connecting");
  });

  it("is not there where none is needed", async () => {
    edge.connect({ token: () => null });
    await settled();
    expect(FakeSocket.last.protocols).toEqual(["fleetcast.v1"]);
  });

  it("that cannot be had is a failed attempt", async () => {
    const client = edge.connect({ token: () => Promise.reject(new Error("the identity provider is away")) });
    await settled();
    expect(client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + 500 });
    expect(client.status.lastError?.message).toContain("the identity provider is away");
    expect(FakeSocket.all).toEqual([]);
  });

  it("that takes too long is a failed attempt, and counts for nothing when it comes", async () => {
    let give: (token: string) => void = () => undefined;
    const client = edge.connect({
      token: () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    });
    await after(10_000);
    expect(client.status.state).toBe("waiting");
    give("late");
    await settled();
    expect(FakeSocket.all).toEqual([]);
  });

  it("that never comes is asked for again with the next attempt", async () => {
    const token = vi.fn<() => Promise<string>>(() => new Promise(() => undefined));
    const client = edge.connect({ token });
    const asked = client.get("/api/hosts").catch((error: unknown) => error);
    await after(10_000);
    token.mockResolvedValue("good");
    await after(500);
    expect(FakeSocket.last.protocols[1]).toBe("bearer.good");
    await after(9_500);
    await expect(asked).resolves.toMatchObject({ message: "the edge did not answer in time" });
  });

  it("is renewed before it runs out, by a new connection that takes over while the old one is there", async () => {
    const token = vi.fn(() => jwt(600));
    const client = await edge.connected({ token });
    const states = new Set<string>();
    const seen: number[] = [];
    client.onStatus(({ state }) => states.add(state));
    client.subscribe("events", ({ at }) => seen.push(at));
    await after(539_000);
    expect(token).toHaveBeenCalledTimes(1);
    await after(2_000);
    expect(token).toHaveBeenCalledTimes(2);
    const [old, renewed] = FakeSocket.all;
    expect(renewed?.protocols[1]).toBe(`bearer.${token.mock.results[1]?.value}`);
    const occurs = (at: number): void => {
      for (const socket of [old, renewed]) {
        socket?.say({
          type: "event",
          host: "h",
          containerId: "c",
          name: "n",
          from: null,
          to: "running",
          at,
          cause: "docker",
        });
      }
    };
    occurs(1);
    if (renewed) renewed.answers = false;
    renewed?.open({ user: "zoë" });
    await settled();
    expect(renewed?.channels).toEqual(["events"]);
    expect(old?.closedWith).toBeNull(); // not before the edge has subscribed the new one
    occurs(2);
    renewed?.say({ type: "heartbeat", serverTime: Date.now(), nonce: "s1" });
    expect(old?.closedWith).toBe(1000);
    occurs(3);
    expect(seen).toEqual([1, 2, 3]);
    expect(client.status.session?.user).toBe("zoë");
    expect([...states]).toEqual(["open"]);
  });

  it("that is not renewed is asked for again before long, on the same connection", async () => {
    const same = jwt(600);
    const token = vi.fn(() => same);
    const client = await edge.connected({ token });
    await after(595_000);
    expect(token.mock.calls.length).toBeGreaterThan(2);
    expect(token.mock.calls.length).toBeLessThan(16);
    expect(FakeSocket.all).toHaveLength(1);
    expect(client.status.state).toBe("open");
  });

  it("is renewed again where the new connection does not come about", async () => {
    const token = vi.fn(() => jwt(600));
    const client = await edge.connected({ token });
    await after(541_000);
    FakeSocket.last.end(1013);
    await settled();
    expect(client.status.state).toBe("open");
    await after(10_000);
    expect(FakeSocket.all).toHaveLength(3);
    FakeSocket.last.open();
    await settled();
    expect(FakeSocket.all.map((socket) => socket.closedWith)).toEqual([1000, 1000, null]);
  });

  it("takes over at once where the old connection breaks meanwhile", async () => {
    const client = await edge.connected({ token: () => jwt(600) });
    await after(541_000);
    FakeSocket.all[0]?.end(4401, "the sign-in has expired");
    expect(client.status.state).toBe("connecting");
  });

  it("of a year needs no timer of a year", async () => {
    const client = await edge.connected({ token: () => jwt(365 * 86_400) });
    await after(60_000);
    expect(client.status.state).toBe("open");
    expect(FakeSocket.all).toHaveLength(1);
  });
});

describe("4401", () => {
  it("is answered with another token, once", async () => {
    const token = vi.fn(() => "old").mockReturnValueOnce("first");
    const client = edge.connect({ token });
    await settled();
    FakeSocket.last.readyState = 1;
    FakeSocket.last.end(4401, "the token has expired: sign in again");
    await settled();
    expect(client.status.state).toBe("connecting");
    expect(FakeSocket.last.protocols[1]).toBe("bearer.old");
    FakeSocket.last.end(4401, "the token has expired: sign in again");
    expect(client.status).toMatchObject({ state: "signed-out", retryAt: null, lastError: { code: 4401 } });
    await after(3_600_000);
    edge.wake();
    await settled();
    expect(FakeSocket.all).toHaveLength(2);
    token.mockReturnValue("new");
    client.reconnect();
    await settled();
    FakeSocket.last.open();
    expect(client.status.state).toBe("open");
  });

  it("after a healthy run is answered with another token again", async () => {
    const client = await edge.connected({ token: () => "t" });
    for (let i = 0; i < 3; i += 1) {
      await after(30_000);
      FakeSocket.last.end(4401, "the sign-in has expired");
      await settled();
      expect(client.status.state).toBe("connecting");
      FakeSocket.last.open();
      await settled();
    }
    FakeSocket.last.end(4401);
    await settled();
    expect(client.status.state).toBe("signed-out"); // and not in a loop
  });
});

describe("get()", () => {
  it("brings an answer, with the token", async () => {
    edge.http.on("GET /api/hosts", () => json({ type: "hosts", hosts: [] }));
    const client = await edge.connected({ token: () => "t" });
    await expect(client.get("/api/hosts")).resolves.toEqual({ type: "hosts", hosts: [] });
    expect(edge.http.asked("GET /api/hosts")[0]?.token).toBe("Bearer t");
  });

  it("throws what the edge says", async () => {
    const answers = [
      () => refusal(403, "forbidden", "not for you"),
      () => new Response("<html>", { status: 502 }),
      () => refusal(503, "unavailable", "later", { "Retry-After": "2" }),
      () => new Response("<html>"),
      noNetwork,
    ];
    edge.http.on("GET /api/x", () => (answers.shift() ?? noNetwork)());
    const client = await edge.connected();
    const errors = [];
    for (let i = 0; i < 5; i += 1) errors.push(await client.get("/api/x").catch((error: unknown) => error));
    expect(errors.every((error) => error instanceof FleetcastError)).toBe(true);
    expect(errors).toMatchObject([
      { status: 403, code: "forbidden", message: "not for you" },
      { status: 502, code: null, message: "HTTP 502" },
      { status: 503, code: "unavailable", retryAfterMs: 2_000 },
      { status: 200, message: "the edge's answer is no JSON" },
      { status: null, message: "the edge could not be reached" },
    ]);
  });

  it("asks once more with another token", async () => {
    const token = vi.fn(() => `t${token.mock.calls.length}`);
    edge.http.on("GET /api/x", (request) =>
      request.token === "Bearer t1" ? refusal(401, "unauthenticated", "no") : json(1),
    );
    const client = await edge.connected({ token });
    await expect(client.get("/api/x")).resolves.toBe(1);
    edge.http.on("GET /api/x", () => refusal(401, "unauthenticated", "no"));
    await expect(client.get("/api/x")).rejects.toMatchObject({ status: 401 });
    expect(edge.http.asked("GET /api/x")).toHaveLength(4);
  });

  it("sends the token to nobody else", async () => {
    const client = await edge.connected({ token: () => "t" });
    for (const path of ["//evil.test/", "http://evil.test/", "\\\\evil.test", "api/hosts"]) {
      await expect(client.get(path)).rejects.toThrow("no path of the edge");
    }
    expect(edge.http.requests).toEqual([]);
  });

  it("ends with its signal, its time limit, and the client", async () => {
    edge.http.on(
      "GET /api/x",
      ({ signal }) => new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
    );
    const client = await edge.connected();
    const controller = new AbortController();
    const given = client.get("/api/x", controller.signal).catch((error: unknown) => error);
    const slow = client.get("/api/x").catch((error: unknown) => error);
    await settled();
    controller.abort();
    await expect(given).resolves.toBeInstanceOf(FleetcastError);
    await after(20_000);
    await expect(slow).resolves.toMatchObject({ message: "the edge did not answer in time" });
    const closed = client.get("/api/x").catch((error: unknown) => error);
    await settled();
    client.close();
    await expect(closed).resolves.toMatchObject({ message: "this client is closed" });
  });
});
