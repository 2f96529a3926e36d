import type { HostStatus } from "@fleetcast/client";
import { describe, expect, it } from "vitest";
import { type Asked, buttonState, VERBS } from "../../src/lib/verbs.ts";

const live = { state: "live" } as const;
const host: HostStatus = {
  host: "web-1",
  status: "live",
  expected: "always",
  lastSeenAt: 1,
  links: { metrics: live, containers: live, executor: live },
  labels: {},
};
const session = { clientId: "c", edgeId: "e", user: "ops", role: "operator" } as const;
const running = { state: "running", protected: false } as const;
const asked: Asked = { verb: "restart", container: running, hostStatus: host, session, connected: true };

describe("buttonState", () => {
  it("is enabled where all is well", () => {
    expect(buttonState(asked)).toEqual({ enabled: true });
  });

  it.each<[string, Partial<Asked>, RegExp]>([
    ["for a viewer", { session: { ...session, role: "viewer" } }, /role, viewer/],
    ["on a protected container", { container: { ...running, protected: true } }, /protected/],
    ["where the host does not allow it", { hostStatus: { ...host, actions: ["start", "stop"] } }, /not allow restart/],
    ["without a connection", { connected: false }, /no connection/],
    ["before the first connection", { session: null }, /no connection/],
    ["where the host is not in the roster", { hostStatus: undefined }, /not known/],
    [
      "where the executor is gone",
      { hostStatus: { ...host, links: { ...host.links, executor: { state: "gone", reason: "silent" } } } },
      /executor gone: silent/,
    ],
    ["to start what runs", { verb: "start" }, /running already/],
    ["to unpause what is not paused", { verb: "unpause" }, /not paused/],
    ["to remove what runs", { verb: "remove" }, /stop it first/],
    ["to pause what is paused", { verb: "pause", container: { ...running, state: "paused" } }, /paused already/],
    [
      "to kill what has exited",
      { verb: "kill", container: { ...running, state: "exited" } },
      /not running: it is exited/,
    ],
    ["to start what is dead", { verb: "start", container: { ...running, state: "dead" } }, /dead/],
  ])("is off, and says why, %s", (_, change, reason) => {
    const state = buttonState({ ...asked, ...change });
    expect(state.enabled).toBe(false);
    expect(state).toHaveProperty("reason", expect.stringMatching(reason));
  });

  it("tells what lasts before what passes", () => {
    const state = buttonState({ ...asked, session: { ...session, role: "viewer" }, connected: false });
    expect(state).toHaveProperty("reason", expect.stringMatching(/viewer/));
  });

  it("offers nothing on a container that is being removed", () => {
    for (const verb of VERBS) {
      expect(buttonState({ ...asked, verb, container: { ...running, state: "removing" } }).enabled).toBe(false);
    }
  });

  it("works with an executor that checks no signatures, for it does act", () => {
    const executor = { state: "live", reason: "insecure-unsigned" } as const;
    expect(buttonState({ ...asked, hostStatus: { ...host, links: { ...host.links, executor } } }).enabled).toBe(true);
  });
});
