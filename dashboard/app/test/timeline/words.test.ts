import type { EventMessage } from "@fleetcast/client";
import { describe, expect, it } from "vitest";
import { actionWords, eventWords, steps } from "../../src/timeline/words.ts";

function event(change: Partial<EventMessage>): EventMessage {
  return {
    type: "event",
    host: "web-2",
    containerId: "c".repeat(64),
    name: "redis-1",
    from: "running",
    to: "exited",
    at: 1,
    cause: "docker",
    ...change,
  };
}

describe("an event", () => {
  it.each<[Partial<EventMessage>, string, string, string]>([
    [{ exitCode: 137, oomKilled: true }, "crash", "bad", "exited (137), out of memory"],
    [{ exitCode: 0, oomKilled: true }, "crash", "bad", "exited (0), out of memory"],
    [{ exitCode: 137 }, "crash", "bad", "exited (137), killed"],
    [{ exitCode: 139 }, "crash", "bad", "exited (139), segmentation fault"],
    [{ exitCode: 1 }, "crash", "bad", "exited (1)"],
    [{ exitCode: 143 }, "lifecycle", "muted", "exited (143), terminated"],
    [{ exitCode: 0 }, "lifecycle", "muted", "exited (0)"],
    [{}, "lifecycle", "muted", "exited"],
    [{ to: "dead" }, "crash", "bad", "is dead"],
    [{ to: "restarting", exitCode: 1 }, "crash", "bad", "exited (1), restarting"],
    [{ to: "restarting", exitCode: 0 }, "lifecycle", "muted", "exited (0), restarting"],
    [{ to: "paused" }, "lifecycle", "warn", "was paused"],
    [{ to: "removing" }, "lifecycle", "muted", "is being removed"],
    [{ from: "exited", to: null }, "lifecycle", "muted", "was removed"],
    [{ to: null }, "lifecycle", "muted", "was removed while it ran"],
    [{ from: null, to: "created" }, "lifecycle", "muted", "was created"],
    [{ from: null, to: "running" }, "lifecycle", "ok", "appeared, running"],
    [{ from: "created", to: "running" }, "lifecycle", "ok", "started"],
    [{ from: "exited", to: "running" }, "lifecycle", "ok", "started again"],
    [{ from: "restarting", to: "running" }, "lifecycle", "ok", "is running again"],
    [{ from: "paused", to: "running" }, "lifecycle", "ok", "was unpaused"],
    [{ to: "running", health: "unhealthy" }, "health", "bad", "is unhealthy"],
    [{ to: "running", health: "healthy" }, "health", "ok", "is healthy"],
    [{ to: "running", health: "starting" }, "health", "muted", "is having its health checked"],
  ])("%j is a %s, %s: %s", (change, kind, tone, text) => {
    expect(eventWords(event(change))).toEqual({ kind, tone, text });
  });
});

describe("an action", () => {
  it("says who did what, and how long it took", () => {
    const words = actionWords({ action: "restart", status: "succeeded", durationMs: 300 }, "ops");
    expect(words).toEqual({ kind: "action", tone: "ok", text: "restarted by ops in 300\u202fms" });
  });

  it("does not claim to have changed what was so already", () => {
    const words = actionWords({ action: "stop", status: "succeeded", noop: true }, "ops");
    expect(words.text).toBe("stop by ops: nothing to do, it was so already");
  });

  it("gives the reason why it was not done", () => {
    const error = "this host does not allow kill";
    expect(actionWords({ action: "kill", status: "rejected", error }, "ops")).toMatchObject({
      tone: "bad",
      text: "kill by ops rejected: this host does not allow kill",
    });
  });

  it("claims neither success nor failure where nobody knows", () => {
    expect(actionWords({ action: "kill", status: "unknown" }, "ops")).toMatchObject({
      tone: "warn",
      text: "kill by ops: nobody can tell whether it happened",
    });
  });

  it("says of an expired one that it has not happened", () => {
    expect(actionWords({ action: "start", status: "expired" }, "ops").text).toContain("it has not happened");
  });
});

it("the steps of an action are its states in a row, with exit codes", () => {
  const down = event({ exitCode: 0 });
  const up = event({ from: "exited", to: "running" });
  expect(steps([down, up])).toBe("running → exited (0) → running");
  expect(steps([event({ from: "exited", to: null })])).toBe("exited → removed");
  expect(steps([])).toBe("");
});
