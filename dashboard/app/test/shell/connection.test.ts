import { describe, expect, it } from "vitest";
import { behind, describeConnection, isLost, secondsLeft } from "../../src/shell/connection.ts";
import { SESSION, statusOf } from "./fakeClient.tsx";

const NOW = 1_000_000;
const problem = { code: null, message: "the edge does not answer", at: NOW - 5000 };

describe("describeConnection", () => {
  it("is live, with nothing to add, over WebSocket", () => {
    expect(describeConnection(statusOf({}), NOW)).toEqual({ tone: "ok", label: "Live", note: null, canRetry: false });
  });

  it("says where it had to fall back", () => {
    expect(describeConnection(statusOf({ transport: "sse" }), NOW).note).toBe(
      "over server-sent events: WebSocket does not get through",
    );
    expect(describeConnection(statusOf({ transport: "polling" }), NOW).note).toMatch(/^over polling/);
  });

  it("is no longer quite well where frames were left out", () => {
    expect(describeConnection(statusOf({ skippedFrames: 3 }), NOW).tone).toBe("warn");
  });

  it("counts down to the next attempt, and offers to try now", () => {
    const words = describeConnection(statusOf({ state: "waiting", retryAt: NOW + 3100, lastError: problem }), NOW);
    expect(words).toEqual({ tone: "bad", label: "Retry in 4 s", note: "the edge does not answer", canRetry: true });
  });

  it("tells the first attempt from a later one", () => {
    const connecting = statusOf({ state: "connecting", session: null, attempt: 1 });
    expect(describeConnection(connecting, NOW).label).toBe("Connecting");
    expect(describeConnection({ ...connecting, session: SESSION }, NOW).label).toBe("Reconnecting");
  });

  it("says why the edge refuses", () => {
    const words = describeConnection(
      statusOf({ state: "refused", lastError: { ...problem, message: "not allowed" } }),
      NOW,
    );
    expect(words).toMatchObject({ tone: "bad", label: "Refused", note: "not allowed" });
  });
});

describe("isLost", () => {
  it("is not so on the way to the first connection, nor while signed out", () => {
    expect(isLost(statusOf({ state: "connecting", session: null, attempt: 1 }))).toBe(false);
    expect(isLost(statusOf({ state: "signed-out" }))).toBe(false);
    expect(isLost(statusOf({}))).toBe(false);
  });

  it("is so while waiting, while trying again, and where it has been refused", () => {
    expect(isLost(statusOf({ state: "waiting" }))).toBe(true);
    expect(isLost(statusOf({ state: "connecting" }))).toBe(true);
    expect(isLost(statusOf({ state: "refused" }))).toBe(true);
  });
});

it("the seconds left never go below zero", () => {
  expect(secondsLeft({ retryAt: NOW - 10_000 }, NOW)).toBe(0);
  expect(secondsLeft({ retryAt: null }, NOW)).toBe(0);
});

it("one frame behind is one frame", () => {
  expect(behind(0)).toBeNull();
  expect(behind(1)).toBe("you are 1 frame behind");
  expect(behind(3)).toBe("you are 3 frames behind");
});
