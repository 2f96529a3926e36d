/** Whether what is shown of a host is how it is, and if not, which link is broken. Pure. */

import type { Link } from "@fleetcast/client";
import { duration } from "./format.ts";

export { useHostStatus } from "./status.ts";

export type ShownKind = "metrics" | "containers" | "usage" | "processes" | "executor";

/**
 * - `live`: this is how it is.
 * - `stale`: it was so; the way to here is disturbed.
 * - `gone`: it was so; whoever says it is not there any more.
 * - `unknown`: nothing was said yet.
 */
export interface Freshness {
  readonly state: "live" | "stale" | "gone" | "unknown";
  /** Of what is shown. */
  readonly ageMs: number | null;
  /** Why it is not live, for people; null where it is, or where it only has not come yet. */
  readonly reason: string | null;
}

export interface Shown {
  /** The link that brings it (`linkOf`); undefined while the roster is not known. */
  readonly link: Link | undefined;
  /** The newest sample's time; null where there is none. */
  readonly sampledAt: number | null;
  /** On Redis' clock, as `sampledAt`. */
  readonly now: number;
  /** Whether this page's connection is open. */
  readonly connected: boolean;
  readonly kind: ShownKind;
}

const OVERDUE_MS = 45_000;

/** After how long a sample is late: they come each second while somebody watches, or as the collector was set to. */
export function overdueAfterMs(link: Link | undefined): number {
  return Math.max(OVERDUE_MS, 3 * (link?.intervalMs ?? 0));
}

export function freshness({ link, sampledAt, now, connected, kind }: Shown): Freshness {
  const ageMs = sampledAt === null ? null : Math.max(0, now - sampledAt);
  const as = (state: Freshness["state"], reason: string | null): Freshness => ({
    state: state !== "live" && ageMs === null && state !== "gone" ? "unknown" : state,
    ageMs,
    reason,
  });
  if (!connected) return as("stale", "this page has lost its connection");
  if (link !== undefined && link.state !== "live") {
    return as(link.state === "gone" ? "gone" : "stale", linkReason(kind, link));
  }
  // Containers come on change only; what is sampled all the time, and does not come, is late.
  if (kind !== "containers" && kind !== "executor" && ageMs !== null && ageMs > overdueAfterMs(link)) {
    return as("stale", `no new sample for ${duration(ageMs)}`);
  }
  return ageMs === null && kind !== "executor" ? as("unknown", null) : as("live", null);
}

/** Which of a host's links brings a kind: the containers' collector brings their usage, the metrics' the processes. */
export function linkOf(kind: ShownKind): "metrics" | "containers" | "executor" {
  if (kind === "executor") return "executor";
  return kind === "metrics" || kind === "processes" ? "metrics" : "containers";
}

/** What is broken, in words: "metrics collector gone: silent", "Docker is unreachable". */
export function linkReason(kind: ShownKind, link: Link): string {
  const worker = linkOf(kind);
  const who = worker === "executor" ? "executor" : `${worker} collector`;
  switch (link.reason) {
    case "docker-unreachable":
      return "Docker is unreachable";
    case "bus-unreachable":
      return "the edge cannot reach Redis";
    case "never-seen":
      return `no ${who} has been seen here`;
    case "stopped":
      return `${who} was stopped`;
    case undefined:
      return `${who} ${link.state}`;
    default:
      return `${who} ${link.state}: ${link.reason.replaceAll("-", " ")}`;
  }
}
