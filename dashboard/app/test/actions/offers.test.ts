import { describe, expect, it } from "vitest";
import { offers, whyLeftOut } from "../../src/actions/offers.ts";
import { type Chosen, needsAsking, toggleOf, toType } from "../../src/actions/verb.ts";
import { buttonState, type Verb } from "../../src/lib/verbs.ts";
import { container, id } from "./support.ts";

const live = { state: "live" } as const;
const session = { clientId: "c", edgeId: "e", user: "ann", role: "operator" } as const;

function may(role: "viewer" | "operator") {
  return (verb: Verb, { host, container: of }: Chosen) =>
    buttonState({
      verb,
      container: of,
      hostStatus: {
        host,
        status: "live",
        expected: "always",
        lastSeenAt: 0,
        labels: {},
        links: { metrics: live, containers: live, executor: live },
      },
      session: { ...session, role },
      connected: true,
    });
}

const running: Chosen = { host: "node-1", container: container({ id: id(1) }) };
const exited: Chosen = { host: "node-1", container: container({ id: id(2), state: "exited" }) };
const guarded: Chosen = { host: "node-1", container: container({ id: id(3), protected: true }) };

describe("offers", () => {
  it("offers the verbs that one of them at least can take, with those that can", () => {
    const offered = offers([running, exited, guarded], may("operator"));
    const able = Object.fromEntries(offered.map(({ verb, able }) => [verb, able.map((one) => one.container.id)]));
    expect(able).toEqual({
      start: [id(2)],
      stop: [id(1)],
      restart: [id(1), id(2)],
      pause: [id(1)],
      kill: [id(1)],
      remove: [id(2)],
    });
  });

  it("names those that are left out with their reasons", () => {
    const stop = offers([running, exited, guarded], may("operator")).find(({ verb }) => verb === "stop");
    expect(stop?.leftOut.map(({ container: of }) => of.id)).toEqual([id(2), id(3)]);
    expect(whyLeftOut(stop?.leftOut ?? [])).toMatch(/not running.*\(1\); .*protected.*\(1\)/);
  });

  it("shows the usual verbs, off and with the reason, to somebody who may do nothing", () => {
    const offered = offers([running, exited], may("viewer"));
    expect(offered.map(({ verb, able }) => [verb, able.length])).toEqual([
      ["start", 0],
      ["stop", 0],
      ["restart", 0],
    ]);
    expect(whyLeftOut(offered[0]?.leftOut ?? [])).toContain("viewer");
  });

  it("offers nothing for nothing", () => {
    expect(offers([], may("operator"))).toEqual([]);
  });
});

describe("whether it is asked first", () => {
  it("asks before what interrupts or destroys, and before many of anything", () => {
    expect((["start", "unpause"] as const).map((verb) => needsAsking(verb, 1))).toEqual([false, false]);
    expect((["stop", "restart", "kill", "pause", "remove"] as const).every((verb) => needsAsking(verb, 1))).toBe(true);
    expect(needsAsking("start", 11)).toBe(true);
  });

  it("wants the number typed for what cannot be taken back", () => {
    expect(toType("remove", 7)).toBe("7");
    expect(toType("remove", 1)).toBeNull();
    expect(toType("restart", 7)).toBeNull();
  });
});

describe("the first button", () => {
  it("ends what runs, unfreezes what is paused, and starts the rest", () => {
    const states = ["running", "restarting", "paused", "exited", "created"] as const;
    expect(states.map((state) => toggleOf({ state }))).toEqual(["stop", "stop", "unpause", "start", "start"]);
  });
});
