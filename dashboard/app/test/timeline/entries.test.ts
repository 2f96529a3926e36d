import type { EventMessage } from "@fleetcast/client";
import { describe, expect, it } from "vitest";
import { type Entry, filterEntries, type KnownAction, mergeEntries, rowsOf } from "../../src/timeline/entries.ts";
import { expectAudit } from "../../src/timeline/useEntries.ts";
import { since } from "../../src/timeline/useFrozen.ts";

const cause = { requestId: "r1", actor: "ops", action: "restart" } as const;

function event(change: Partial<EventMessage>): EventMessage {
  const id = "c".repeat(64);
  const what = { from: "running", to: "exited", at: 1000, cause: "docker" } as const;
  return { type: "event", host: "web-2", containerId: id, name: "redis-1", ...what, ...change };
}

function action(change: Partial<KnownAction>): KnownAction {
  const what = { action: "restart", actor: "ops", status: "succeeded", at: 1300 } as const;
  return { requestId: "r1", host: "web-2", containerId: "c".repeat(64), name: "redis-1", ...what, ...change };
}

const restart = [event({ cause, at: 1000, exitCode: 0 }), event({ cause, at: 1200, from: "exited", to: "running" })];

describe("mergeEntries", () => {
  it("tells an action and all that it made happen as one thing", () => {
    const entries = mergeEntries(restart, [action({ durationMs: 300 })]);
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({ at: 1200, name: "redis-1", detail: "running → exited (0) → running" });
    expect(entries[0]?.words.text).toContain("restarted by ops");
  });

  it("tells it from the events alone where its record is not to be seen", () => {
    const entries = mergeEntries(restart, []);
    expect(entries).toHaveLength(1);
    expect(entries[0]?.words.text).toBe("restarted by ops");
  });

  it("keeps its key when its record comes after its events", () => {
    expect(mergeEntries(restart, [action({})])[0]?.key).toBe(mergeEntries(restart, [])[0]?.key);
  });

  it("has an action that changed nothing too", () => {
    const entries = mergeEntries([], [action({ status: "rejected", error: "no" })]);
    expect(entries.map(({ words }) => words.text)).toEqual(["restart by ops rejected: no"]);
  });

  it("tells an action once that both the audit and this page know", () => {
    expect(mergeEntries([], [action({}), action({})])).toHaveLength(1);
  });

  it("keeps the targets of one order apart, and their hosts", () => {
    const actions = [action({ target: 0 }), action({ target: 1 }), action({ target: 1, host: "web-3" })];
    expect(mergeEntries([], actions)).toHaveLength(3);
  });

  it("has the newest first", () => {
    const entries = mergeEntries(
      [event({ at: 1 }), event({ at: 9000, to: null })],
      [action({ at: 5, requestId: "r2" })],
    );
    expect(entries.map(({ at }) => at)).toEqual([9000, 5, 1]);
  });

  it("names a container by its id where its name is not known", () => {
    expect(mergeEntries([], [action({ name: "" })])[0]?.name).toBe("cccccccccccc");
  });
});

describe("filterEntries", () => {
  const entries = mergeEntries(
    [
      event({ at: 1, exitCode: 137, oomKilled: true }),
      event({ at: 2, host: "web-3", to: "running", health: "unhealthy" }),
    ],
    [action({ at: 3, requestId: "r2" })],
  );
  const times = (filter: Partial<Parameters<typeof filterEntries>[1]>) =>
    filterEntries(entries, { host: "", kind: "", text: "", ...filter }).map(({ at }) => at);

  it("lets everything through where it is empty", () => {
    expect(times({})).toEqual([3, 2, 1]);
  });

  it("goes by host, by kind and by words, in any case and any order", () => {
    expect(times({ host: "web-3" })).toEqual([2]);
    expect(times({ kind: "crash" })).toEqual([1]);
    expect(times({ kind: "action" })).toEqual([3]);
    expect(times({ text: "MEMORY redis" })).toEqual([1]);
    expect(times({ text: "ops" })).toEqual([3]);
    expect(times({ text: "nothing of this" })).toEqual([]);
  });
});

describe("rowsOf", () => {
  it("puts days over their entries, and marks the first of each minute", () => {
    const noon = new Date(2026, 10, 24, 12, 0).getTime();
    const at = (ms: number) => event({ at: noon - ms, containerId: String(ms) });
    const rows = rowsOf(mergeEntries([at(0), at(-5000), at(70_000), at(86_400_000)], []), noon);
    expect(rows.map((row) => (row.type === "day" ? row.label : row.opensMinute))).toEqual([
      "Today",
      true,
      false,
      true,
      "Yesterday",
      true,
    ]);
  });
});

describe("since", () => {
  const entries = mergeEntries([event({ at: 1 }), event({ at: 2 }), event({ at: 3 })], []);
  const [third, second] = entries as [Entry, Entry];

  it("leaves out what has come since, and counts it", () => {
    expect(since(entries, second)).toEqual({ shown: entries.slice(1), fresh: 1 });
  });

  it("is the whole list where nothing has come", () => {
    expect(since(entries, third)).toEqual({ shown: entries, fresh: 0 });
  });

  it("goes by the time where what was the newest is filtered out now", () => {
    expect(since([third], { ...second, key: "gone" })).toEqual({ shown: [third], fresh: 0 });
  });
});

describe("expectAudit", () => {
  it("leaves out what is no record", () => {
    const record = { ...action({}), edgeId: "e", deadline: 1 };
    expect(expectAudit({ entries: [record, { requestId: 1 }, null], before: null }).entries).toEqual([record]);
  });

  it("takes nothing for a page that is none", () => {
    expect(() => expectAudit({ nothing: [] })).toThrow();
    expect(() => expectAudit(null)).toThrow();
  });
});
