import type { HostStatus } from "@fleetcast/client";
import { describe, expect, it } from "vitest";
import { linkWords, neighbours, usageWords } from "../../src/host/header.ts";

const STATUS: HostStatus = {
  ...{ host: "web-1", status: "live", expected: "always", lastSeenAt: 0, labels: {} },
  links: {
    metrics: { state: "live" },
    containers: { state: "stalled", reason: "docker-unreachable" },
    executor: { state: "gone", reason: "never-seen" },
  },
};

describe("the links", () => {
  it("are each named with their state, and the reason where they are not live", () => {
    expect(linkWords(STATUS)).toEqual([
      { name: "Metrics", tone: "ok", words: "live" },
      { name: "Containers", tone: "warn", words: "Docker is unreachable" },
      { name: "Executor", tone: "bad", words: "no executor has been seen here" },
    ]);
  });

  it("alarm nobody where the host is expected only sometimes", () => {
    expect(linkWords({ ...STATUS, expected: "sometimes" })[2]?.tone).toBe("muted");
  });

  it("warn of an executor that does what nobody has signed", () => {
    const links = { ...STATUS.links, executor: { state: "live", reason: "insecure-unsigned" } } as const;
    const executor = linkWords({ ...STATUS, links })[2];
    expect(executor?.tone).toBe("warn");
    expect(executor?.words).toContain("nobody has signed");
  });
});

describe("the header", () => {
  it("knows the hosts beside this one, in the order of their numbers", () => {
    const hosts = ["web-10", "web-9", "db-1"];
    expect(neighbours(hosts, "web-9")).toEqual(["db-1", "web-10"]);
    expect(neighbours(hosts, "web-10")).toEqual(["web-9", null]);
    expect(neighbours(hosts, "gone-1")).toEqual([null, null]);
  });

  it("says how usage is read, where it is known", () => {
    expect(usageWords("cgroup")).toContain("cgroups");
    expect(usageWords(undefined)).toBeNull();
  });
});
