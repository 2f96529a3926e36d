import type { Container } from "@fleetcast/client";
import { expect, it } from "vitest";
import { containerHref, findContainer, portText } from "../../src/host/links.ts";

const containers = [
  { id: `abcd1${"0".repeat(59)}`, name: "web" },
  { id: `abcd2${"0".repeat(59)}`, name: "abcd1" },
] as unknown as readonly Container[];

it("keeps the rest of the query in a container's link", () => {
  expect(containerHref("web-1", "abc", "?range=60&container=old")).toBe("/hosts/web-1?range=60&container=abc");
});

it("finds a container by id, name or an unambiguous beginning of its id", () => {
  expect(findContainer(containers, containers[1]?.id ?? "")).toBe(containers[1]);
  expect(findContainer(containers, "web")).toBe(containers[0]);
  expect(findContainer(containers, "abcd1")).toBe(containers[1]); // a name before a beginning
  expect(findContainer(containers, "abcd2")).toBe(containers[1]);
  expect(findContainer(containers, "abcd")).toBeUndefined();
  expect(findContainer(containers, "abc")).toBeUndefined();
});

it("says where a port is published, and the address only where it is one of several", () => {
  const port = { containerPort: 80, protocol: "tcp" };
  expect(portText({ ...port, ip: null, hostPort: null })).toBe("80/tcp");
  expect(portText({ ...port, ip: "0.0.0.0", hostPort: 8080 })).toBe("8080 → 80/tcp");
  expect(portText({ ...port, ip: "127.0.0.1", hostPort: 8080 })).toBe("127.0.0.1:8080 → 80/tcp");
  expect(portText({ ...port, ip: "::1", hostPort: 8080 })).toBe("[::1]:8080 → 80/tcp");
});
