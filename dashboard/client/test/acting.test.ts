/** Actions: each has one outcome, whatever becomes of the connection. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ActionHandle, ContainerAck, Outcome } from "../src/index.ts";
import {
  after,
  type FakeEdge,
  FakeSocket,
  json,
  noNetwork,
  refusal,
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

const RESTART = { host: "web-1", containerId: "web", action: "restart" } as const;
const ID = "a".repeat(64);

function ack(handle: ActionHandle, status: ContainerAck["status"], changes: object = {}): object {
  const target = handle.target === null ? {} : { target: handle.target };
  const base = { host: "web-1", containerId: ID, action: "restart", at: 1, actor: "ann" };
  return { type: "container-ack", requestId: handle.requestId, ...target, status, ...base, ...changes };
}

function record(requestId: string, status: string, changes: object = {}): object {
  const base = { host: "web-1", containerId: ID, name: "web", action: "restart", actor: "ann", edgeId: "e" };
  return { requestId, ...base, deadline: 0, status, at: 1, ...changes };
}

/** Its outcome so far. */
function watched(handle: ActionHandle): { outcome: Outcome | null; settled: number; stages: string[] } {
  const seen: { outcome: Outcome | null; settled: number; stages: string[] } = {
    outcome: null,
    settled: 0,
    stages: [],
  };
  handle.onAck(({ status }) => seen.stages.push(status));
  void handle.outcome.then((outcome) => {
    seen.outcome = outcome;
    seen.settled += 1;
  });
  return seen;
}

describe("an action", () => {
  it("is sent at once, goes through its stages, each told once, and settles", async () => {
    const client = await edge.connected();
    const handle = client.act({ ...RESTART, timeoutSec: 3, expect: { id: ID, state: "running", startedAt: 5 } });
    const seen = watched(handle);
    expect(FakeSocket.last.of("container-action")).toEqual([
      {
        type: "container-action",
        requestId: handle.requestId,
        ...RESTART,
        timeoutSec: 3,
        expiresInSec: 30,
        expect: { id: ID, state: "running", startedAt: 5 },
      },
    ]);
    expect(handle.ack).toBeNull();
    for (const status of ["accepted", "accepted", "running", "accepted", "running", "succeeded", "failed"] as const) {
      FakeSocket.last.say(ack(handle, status, { durationMs: 12 }));
    }
    await settled();
    expect(seen.stages).toEqual(["accepted", "running", "succeeded"]);
    expect(seen.outcome).toMatchObject({ status: "succeeded", durationMs: 12, noop: false, error: null, code: null });
    expect(seen.outcome?.ack).toBe(handle.ack);
    await after(3_600_000);
    expect(FakeSocket.all.flatMap((socket) => socket.of("container-action"))).toHaveLength(1);
  });

  it("has an id that nobody else has, on a plain-http page too", async () => {
    vi.stubGlobal("crypto", { getRandomValues: crypto.getRandomValues.bind(crypto) });
    const client = await edge.connected();
    const ids = Array.from({ length: 50 }, () => client.act(RESTART).requestId);
    expect(new Set(ids).size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  });

  it("that is asked for twice with the same id is the same one", async () => {
    const client = await edge.connected();
    const request = { ...RESTART, requestId: "mine" };
    expect(client.act(request)).toBe(client.act(request));
    expect(FakeSocket.last.of("container-action")).toHaveLength(1);
  });

  it.each([
    ["forbidden", "the role viewer may not act"],
    ["unknown-container", "no such container"],
    ["rate-limited", "too many actions"],
  ])("that the edge refuses with %s is rejected", async (code, message) => {
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r" }));
    FakeSocket.last.say({ type: "error", code, message, requestId: "r" });
    await settled();
    expect(seen.outcome).toMatchObject({ status: "rejected", code, error: message, ack: null });
  });

  it.each(["failed", "expired", "rejected", "unknown"] as const)("that ends as %s says why", async (status) => {
    const client = await edge.connected();
    const handle = client.act(RESTART);
    const seen = watched(handle);
    FakeSocket.last.say(ack(handle, status, { error: "why" }));
    await settled();
    expect(seen.outcome).toMatchObject({ status, error: "why", code: null });
  });

  it("goes on for the others where one who listens throws", async () => {
    vi.stubGlobal("reportError", vi.fn());
    const client = await edge.connected();
    const handle = client.act(RESTART);
    handle.onAck(() => {
      throw new Error("a page's mistake");
    });
    const seen = watched(handle);
    FakeSocket.last.say(ack(handle, "succeeded"));
    await settled();
    expect(seen).toMatchObject({ stages: ["succeeded"], settled: 1 });
  });
});

describe("an action whose connection breaks", () => {
  it("is sent again with the same id, settles once, and has no more time than before", async () => {
    const client = await edge.connected();
    const handle = client.act(RESTART);
    const seen = watched(handle);
    await after(3_000);
    FakeSocket.last.end(1006);
    await after(500);
    FakeSocket.last.open();
    expect(FakeSocket.last.of("container-action")).toMatchObject([{ requestId: handle.requestId, expiresInSec: 27 }]);
    FakeSocket.last.say(ack(handle, "running"));
    FakeSocket.last.end(1012, '{"retryAfterMs": 200}');
    await after(200);
    FakeSocket.last.open();
    expect(FakeSocket.last.of("container-action")).toHaveLength(1);
    FakeSocket.last.say(ack(handle, "running"));
    FakeSocket.last.say(ack(handle, "succeeded"));
    FakeSocket.last.say(ack(handle, "succeeded"));
    await settled();
    expect(seen).toMatchObject({ stages: ["running", "succeeded"], settled: 1, outcome: { status: "succeeded" } });
    FakeSocket.last.end(1006);
    await after(60_000);
    expect(FakeSocket.last.of("container-action")).toEqual([]);
  });

  it("is not begun after its deadline: one that no edge has told of is only looked for then", async () => {
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r", expiresInSec: 2 }));
    FakeSocket.last.end(1013);
    await after(500);
    await after(2_000);
    FakeSocket.last.open();
    await after(3_000);
    expect(edge.http.asked("GET /api/actions/web-1/r")).toHaveLength(4);
    expect(FakeSocket.last.of("container-action")).toEqual([]);
    edge.http.on("GET /api/actions/web-1/r", () => json(record("r", "running")));
    await after(1_000);
    expect(seen.stages).toEqual(["running"]);
    // Now that it is known, it is sent again so that acks come.
    expect(FakeSocket.last.of("container-action")).toHaveLength(1);
  });

  it("that never got out expires at its deadline", async () => {
    const client = edge.connect();
    edge.http.on("GET", noNetwork);
    const seen = watched(client.act({ ...RESTART, expiresInSec: 5 }));
    await after(4_999);
    expect(seen.outcome).toBeNull();
    await after(1);
    expect(seen.outcome).toMatchObject({ status: "expired", ack: null });
  });

  it("waits for the first connection", async () => {
    const client = edge.connect();
    const handle = client.act(RESTART);
    await settled();
    FakeSocket.last.open();
    expect(FakeSocket.last.of("container-action")).toMatchObject([{ requestId: handle.requestId, expiresInSec: 30 }]);
  });

  it("is unknown when nothing came until a while after its deadline, and it was asked for once more", async () => {
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r", expiresInSec: 5, timeoutSec: 0 }));
    FakeSocket.last.say(ack(client.act({ ...RESTART, requestId: "r" }), "accepted"));
    await after(19_999);
    expect(seen.outcome).toBeNull();
    expect(edge.http.asked("GET /api/actions")).toEqual([]);
    await after(1);
    expect(edge.http.asked("GET /api/actions/web-1/r")).toHaveLength(1);
    expect(seen.outcome).toMatchObject({ status: "unknown" });
  });

  it("has the outcome of its record where that knows it at the end", async () => {
    edge.http.on("GET /api/actions/web-1/r", () => json(record("r", "failed", { error: "no such image" })));
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r", expiresInSec: 5, timeoutSec: 0 }));
    FakeSocket.last.say(ack(client.act({ ...RESTART, requestId: "r" }), "accepted"));
    await after(20_000);
    expect(seen).toMatchObject({
      stages: ["accepted", "failed"],
      outcome: { status: "failed", error: "no such image" },
    });
  });

  it("is sent again where no ack comes, as where the edge had too many messages to read it", async () => {
    const client = await edge.connected();
    const handle = client.act(RESTART);
    await after(4_999);
    expect(FakeSocket.last.of("container-action")).toHaveLength(1);
    await after(1);
    expect(FakeSocket.last.of("container-action")).toHaveLength(2);
    FakeSocket.last.say(ack(handle, "accepted"));
    await after(20_000);
    expect(FakeSocket.last.of("container-action")).toHaveLength(2);
  });

  it("is sent again where Redis is away, for it may have been accepted", async () => {
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r" }));
    FakeSocket.last.say({ type: "error", code: "unavailable", message: "Redis is away", requestId: "r" });
    await after(3_000);
    expect(seen.outcome).toBeNull();
    expect(FakeSocket.last.of("container-action")).toHaveLength(2);
  });

  it("is not rejected for what is said of its second sending: its record decides", async () => {
    edge.http.on("GET /api/actions/web-1/r", () => json(record("r", "succeeded")));
    const client = await edge.connected();
    const seen = watched(client.act({ ...RESTART, requestId: "r" }));
    FakeSocket.last.end(1006);
    await after(500);
    FakeSocket.last.open();
    FakeSocket.last.say({ type: "error", code: "forbidden", message: "not any more", requestId: "r" });
    await settled();
    expect(seen.outcome).toMatchObject({ status: "succeeded" });
  });

  it("is unknown where the client is closed before, unless it was never sent", async () => {
    const client = await edge.connected();
    const sent = watched(client.act(RESTART));
    FakeSocket.last.end(1006);
    const kept = watched(client.act(RESTART));
    client.close();
    const late = watched(client.act(RESTART));
    await settled();
    expect(sent.outcome).toMatchObject({ status: "unknown" });
    expect(kept.outcome).toMatchObject({ status: "rejected" });
    expect(late.outcome).toMatchObject({ status: "rejected", error: "this client is closed" });
  });
});

describe("an action on several containers", () => {
  const targets = [
    { host: "web-1", containerId: "a" },
    { host: "web-2", containerId: "b" },
    { host: "web-3", containerId: "c" },
  ];

  it("is one message with an outcome for each", async () => {
    const client = await edge.connected();
    const handles = client.actOnAll({ action: "stop", targets, requestId: "all" });
    const seen = handles.map(watched);
    expect(handles.map(({ requestId, target }) => [requestId, target])).toEqual([
      ["all", 0],
      ["all", 1],
      ["all", 2],
    ]);
    expect(FakeSocket.last.of("container-action")).toEqual([
      { type: "container-action", requestId: "all", action: "stop", expiresInSec: 30, targets },
    ]);
    for (const handle of handles.slice(0, 1)) FakeSocket.last.say(ack(handle, "succeeded"));
    FakeSocket.last.say({ type: "error", code: "unknown-host", message: "no", requestId: "all", target: 1 });
    await settled();
    expect(seen.map(({ outcome }) => outcome?.status)).toEqual(["succeeded", "rejected", undefined]);
    FakeSocket.last.end(1006);
    await after(500);
    FakeSocket.last.open();
    expect(FakeSocket.last.of("container-action")).toMatchObject([{ requestId: "all", targets }]);
    FakeSocket.last.say({ type: "error", code: "unavailable", message: "later", requestId: "all" });
    for (const handle of handles) FakeSocket.last.say(ack(handle, "failed"));
    await settled();
    expect(seen.map(({ outcome }) => outcome?.status)).toEqual(["succeeded", "rejected", "failed"]);
    expect(seen.map((one) => one.settled)).toEqual([1, 1, 1]);
  });

  it("is rejected where there are too many, and nothing where there are none", async () => {
    const client = await edge.connected();
    const many = Array.from({ length: 101 }, (_, i) => ({ host: "web-1", containerId: `c${i}` }));
    const handles = client.actOnAll({ action: "stop", targets: many });
    const outcomes = await Promise.all(handles.map((handle) => handle.outcome));
    expect(new Set(outcomes.map(({ status, code }) => `${status} ${code}`))).toEqual(new Set(["rejected too-large"]));
    expect(client.actOnAll({ action: "stop", targets: [] })).toEqual([]);
    expect(FakeSocket.last.of("container-action")).toEqual([]);
  });
});

describe("what is open", () => {
  it("is bounded", async () => {
    const client = await edge.connected();
    const handles = Array.from({ length: 1_000 }, () => client.act(RESTART));
    await expect(client.act(RESTART).outcome).resolves.toMatchObject({ status: "rejected", code: "rate-limited" });
    for (const handle of handles) FakeSocket.last.say(ack(handle, "succeeded"));
    await settled();
    const next = watched(client.act(RESTART));
    await settled();
    expect(next.outcome).toBeNull();
  });

  it("is never larger than an edge reads, and has an id that it takes", async () => {
    const client = await edge.connected();
    const large = client.act({ ...RESTART, expect: { id: "x".repeat(70_000) } });
    await expect(large.outcome).resolves.toMatchObject({ status: "rejected", code: "too-large" });
    const wrong = client.act({ ...RESTART, requestId: "a b" });
    await expect(wrong.outcome).resolves.toMatchObject({ status: "rejected", code: "invalid-message" });
    expect(FakeSocket.last.of("container-action")).toEqual([]);
  });
});

describe("without a WebSocket", () => {
  beforeEach(() => {
    edge.http.on("GET /api/hosts", () => json(roster("web-1")));
  });

  it("actions are posted, and their records looked at until they are settled", async () => {
    const client = edge.connect({ transports: ["polling"] });
    await settled();
    edge.http.on("POST /api/hosts/web-1/containers/web/actions", () => json(record("r", "accepted"), 202));
    const stages = ["accepted", "running", "running", "succeeded"];
    edge.http.on("GET /api/actions/web-1/r", () => json(record("r", stages.shift() ?? "", { noop: true })));
    const { host: _, ...anywhere } = RESTART;
    const seen = watched(client.act({ ...anywhere, requestId: "r", expect: { id: ID } }));
    await after(10_000);
    const [post, ...others] = edge.http.asked("POST");
    expect(others).toEqual([]);
    expect(post?.body).toEqual({ requestId: "r", action: "restart", expiresInSec: 30, expect: { id: ID } });
    expect(seen).toMatchObject({
      stages: ["accepted", "running", "succeeded"],
      outcome: { status: "succeeded", noop: true },
    });
    expect(stages).toEqual([]);
  });

  it("an action that may not have got through is posted again with the same id", async () => {
    const client = edge.connect({ transports: ["polling"] });
    await settled();
    const answers = [noNetwork, () => refusal(503, "unavailable", "later"), () => json(record("r", "succeeded"))];
    edge.http.on("POST", () => (answers.shift() ?? noNetwork)());
    const seen = watched(client.act({ ...RESTART, requestId: "r" }));
    await after(10_000);
    expect(seen.outcome).toMatchObject({ status: "succeeded" });
    expect(new Set(edge.http.asked("POST").map(({ body }) => (body as { requestId: string }).requestId))).toEqual(
      new Set(["r"]),
    );
  });

  it("a refusal is an outcome", async () => {
    const client = edge.connect({ transports: ["polling"] });
    await settled();
    edge.http.on("POST", () => refusal(403, "forbidden", "the role viewer may not act"));
    await expect(client.act(RESTART).outcome).resolves.toMatchObject({ status: "rejected", code: "forbidden" });
  });

  it("each of several is a request of its own, and stays so when a WebSocket is there", async () => {
    const client = edge.connect({ transports: ["websocket", "polling"] });
    for (let i = 0; i < 2; i += 1) {
      await settled();
      FakeSocket.last.end(1006);
      await after(500);
    }
    expect(client.status).toMatchObject({ state: "open", transport: "polling" });
    edge.http.on("POST", ({ body }) => json(record((body as { requestId: string }).requestId, "accepted"), 202));
    let status = "running";
    edge.http.on("GET /api/actions/web-1/", () => json(record("all", status)));
    const targets = [{ containerId: "a" }, { containerId: "b" }];
    const seen = client.actOnAll({ action: "stop", requestId: "all", targets, expiresInSec: 3_600 }).map(watched);
    await after(2_000);
    expect(edge.http.asked("POST").map(({ body }) => (body as { requestId: string }).requestId)).toEqual([
      "all.0",
      "all.1",
    ]);
    await after(60_000);
    FakeSocket.last.open();
    await settled();
    expect(client.status.transport).toBe("websocket");
    status = "succeeded";
    await after(2_000);
    expect(seen.map(({ outcome, stages }) => [outcome?.status, stages])).toEqual([
      ["succeeded", ["accepted", "running", "succeeded"]],
      ["succeeded", ["accepted", "running", "succeeded"]],
    ]);
    expect(FakeSocket.last.of("container-action")).toEqual([]);
  });
});
