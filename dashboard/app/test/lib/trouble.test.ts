import type { HostStatus, Link } from "@fleetcast/client";
import { expect, it } from "vitest";
import { inTrouble } from "../../src/lib/trouble.ts";

const live: Link = { state: "live" };

function host(change: Partial<HostStatus>): HostStatus {
  const links = { metrics: live, containers: live, executor: live };
  return { host: "web-1", status: "live", expected: "always", lastSeenAt: 1, labels: {}, links, ...change };
}

it("is no trouble where all three links are live", () => {
  expect(inTrouble(host({}))).toBe(false);
});

it("is trouble where a host that is always expected is gone or stalled", () => {
  expect(inTrouble(host({ status: "gone" }))).toBe(true);
  expect(inTrouble(host({ status: "stalled" }))).toBe(true);
});

it("is no trouble where a host that may be off is gone", () => {
  expect(inTrouble(host({ status: "gone", expected: "sometimes" }))).toBe(false);
});

it("is trouble where one worker is away, though the best of the three is live", () => {
  const links = { metrics: live, containers: { state: "gone", reason: "docker-unreachable" } as const, executor: live };
  expect(inTrouble(host({ links }))).toBe(true);
});

it("is no trouble where a host has never had an executor", () => {
  const links = { metrics: live, containers: live, executor: { state: "gone", reason: "never-seen" } as const };
  expect(inTrouble(host({ links }))).toBe(false);
});
