import { expect, test } from "vitest";
import {
  eventBuffer,
  MOST_EVENTS,
  mergeEvents,
  messageBuffer,
  newerOf,
  recordBuffer,
} from "../../src/react/buffers.ts";
import type { EventMessage } from "../../src/wire.ts";
import { event, metrics, roster } from "./fakeClient.ts";

test("a later epoch is newer than an earlier one whatever their numbers, and a higher number within one", () => {
  const known = metrics("web-1", 7, 2);
  const [lower, higher, earlier, later] = [[6, 2] as const, [8, 2] as const, [9, 1] as const, [1, 3] as const].map(
    ([seq, epoch]) => metrics("web-1", seq, epoch),
  );
  expect(newerOf(known, lower)).toBe(known);
  expect(newerOf(known, higher)).toBe(higher);
  expect(newerOf(known, earlier)).toBe(known);
  expect(newerOf(known, later)).toBe(later);
  expect(newerOf(known, metrics("web-1", 7, 2))).toBe(known);
  expect(newerOf(undefined, lower)).toBe(lower);
});

test("a message's buffer gives the newest that came, unless the cache has a newer one", () => {
  const buffer = messageBuffer();
  const [first, second, third] = [1, 2, 3].map((seq) => metrics("web-1", seq));
  buffer.put(first);
  buffer.put(second);
  expect(buffer.into(undefined)).toBe(second);
  expect(buffer.into(second)).toBe(second);
  buffer.put(second);
  expect(buffer.into(third)).toBe(third);
});

test("a record keeps the very messages of the hosts that have not changed", () => {
  const buffer = recordBuffer(undefined);
  const [web, db] = [metrics("web-1", 1), metrics("db-1", 1)];
  buffer.put(web);
  buffer.put(db);
  const before = buffer.into(undefined) as Record<string, unknown>;
  buffer.put(metrics("db-1", 2));
  const after = buffer.into(before) as Record<string, unknown>;
  expect(after).not.toBe(before);
  expect(after["web-1"]).toBe(web);
  expect(after["db-1"]).toEqual(metrics("db-1", 2));
  expect(buffer.into(after)).toBe(after);
});

test("a host that has left the roster goes from the record, and one that is not in it yet waits", () => {
  const buffer = recordBuffer(undefined);
  buffer.put(metrics("web-1", 1));
  buffer.put(metrics("old", 1));
  buffer.putRoster(roster("web-1"));
  buffer.put(metrics("new", 1));
  const before = buffer.into(undefined);
  expect(Object.keys(before as object)).toEqual(["web-1"]);
  buffer.putRoster(roster("web-1", "new", "old"));
  expect(Object.keys(buffer.into(before) as object)).toEqual(["web-1", "new"]);
});

test("a record goes on from what the cache has", () => {
  const buffer = recordBuffer({ "web-1": metrics("web-1", 5) });
  buffer.put(metrics("web-1", 4));
  buffer.put(metrics("db-1", 1));
  expect(buffer.into({})).toEqual({ "web-1": metrics("web-1", 5), "db-1": metrics("db-1", 1) });
});

test("a record is empty only where the fleet is, or nobody waits any more", () => {
  const buffer = recordBuffer(undefined);
  buffer.putRoster(roster("web-1"));
  expect(buffer.into(undefined)).toBeUndefined();
  buffer.allowEmpty();
  expect(buffer.into(undefined)).toEqual({});
  const none = recordBuffer(undefined);
  none.putRoster(roster());
  expect(none.into(undefined)).toEqual({});
});

test("a host named like a part of JavaScript is a host like others", () => {
  const buffer = recordBuffer(undefined);
  buffer.put(metrics("__proto__", 1));
  expect(Object.keys(buffer.into(undefined) as object)).toEqual(["__proto__"]);
});

test("events come in the order in which they happened, each once", () => {
  const [a, b, c, d] = [1, 2, 3, 4].map((at) => event("web-1", at)) as [
    EventMessage,
    EventMessage,
    EventMessage,
    EventMessage,
  ];
  expect(mergeEvents([c], [a, b, structuredClone(c), d])).toEqual([a, b, c, d]);
  const known = [a, b];
  expect(mergeEvents(known, [structuredClone(b)])).toBe(known);
  expect(mergeEvents(undefined, [])).toEqual([]);
});

test("events of the same moment that differ in anything stay apart, in the order in which they came", () => {
  const sick = { ...event("web-1", 5), from: "running", to: "running", health: "unhealthy" } as const;
  const well = { ...sick, health: "healthy" } as const;
  const elsewhere = { ...sick, host: "web-2" } as const;
  expect(mergeEvents([sick], [well, elsewhere])).toEqual([sick, well, elsewhere]);
});

test("of more events than a list takes the newest stay", () => {
  const buffer = eventBuffer();
  for (let at = 0; at < 3 * MOST_EVENTS; at += 1) {
    buffer.put(event("web-1", at));
  }
  const events = buffer.into([event("web-1", -1)]) as EventMessage[];
  expect(events).toHaveLength(MOST_EVENTS);
  expect(events.at(-1)?.at).toBe(3 * MOST_EVENTS - 1);
  expect(events[0]?.at).toBe(2 * MOST_EVENTS);
});
