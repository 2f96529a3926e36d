import type { HostStatus } from "@fleetcast/client";

/** Whether somebody has to look: no host that may be off, and none for a worker that it has never had. */
export function inTrouble({ status, expected, links }: HostStatus): boolean {
  if (expected === "sometimes") return false;
  if (status !== "live") return true;
  return Object.values(links).some((link) => link.state !== "live" && link.reason !== "never-seen");
}
