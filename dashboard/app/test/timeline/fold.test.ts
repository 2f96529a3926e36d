import type { EventMessage } from "@fleetcast/client";
import { describe, expect, it } from "vitest";
import { foldEvents, groupWords } from "../../src/timeline/fold.ts";

type Step = readonly [at: number, from: EventMessage["from"], to: EventMessage["to"], more?: Partial<EventMessage>];

function events(...steps: readonly Step[]): readonly EventMessage[] {
  return steps.map(([at, from, to, more]) => ({
    type: "event",
    host: "web-2",
    containerId: "c".repeat(64),
    name: "redis-1",
    from,
    to,
    at,
    cause: "docker",
    ...more,
  }));
}

const said = (list: readonly EventMessage[]) => foldEvents(list).map((group) => groupWords(group)?.text);

describe("folding", () => {
  it("tells a deployment as one thing", () => {
    const list = events(
      [0, "running", "exited", { exitCode: 0 }],
      [10, "exited", null],
      [10, null, "created"],
      [700, "created", "running"],
    );
    expect(said(list)).toEqual(["was replaced, the new one runs"]);
  });

  it("tells a new container as one thing", () => {
    expect(said(events([0, null, "created"], [200, "created", "running"]))).toEqual(["was created and started"]);
  });

  it("never hides a crash", () => {
    const [group] = foldEvents(events([0, "running", "exited", { exitCode: 1 }], [10, "exited", null]));
    expect(groupWords(group ?? [])).toEqual({ kind: "crash", tone: "bad", text: "exited (1), was removed" });
  });

  it("leaves apart what is further apart in time", () => {
    expect(said(events([0, null, "created"], [10_000, "created", "running"]))).toEqual(["was created", "started"]);
  });

  it("tells a restart as one thing, and a crash before it first", () => {
    const restart = (exitCode: number) => events([0, "running", "exited", { exitCode }], [10, "exited", "running"]);
    expect(said(restart(143))).toEqual(["was restarted"]);
    expect(said(restart(1))).toEqual(["exited (1), was restarted"]);
    const policy = events([0, "running", "restarting", { exitCode: 1 }], [10, "restarting", "running"]);
    expect(said(policy)).toEqual(["exited (1), restarting, running again"]);
  });

  it("takes another container of the same name that starts for another thing", () => {
    const list = events([0, "running", "exited"], [10, "exited", "running", { containerId: "d".repeat(64) }]);
    expect(said(list)).toHaveLength(2);
  });

  it("tells every round of a crash loop", () => {
    const list = events(
      [0, "running", "restarting", { exitCode: 1 }],
      [10, "restarting", "running"],
      [20, "running", "restarting", { exitCode: 1 }],
    );
    expect(said(list)).toHaveLength(2);
  });

  it("leaves health changes alone", () => {
    const list = events([0, "created", "running"], [10, "running", "running", { health: "healthy" }]);
    expect(said(list)).toEqual(["started", "is healthy"]);
  });

  it("keeps hosts and names apart", () => {
    const list = [
      ...events([0, null, "created"]),
      ...events([1, "created", "running", { host: "web-3" }], [2, "created", "running", { name: "redis-2" }]),
    ];
    expect(foldEvents(list)).toHaveLength(3);
  });
});
