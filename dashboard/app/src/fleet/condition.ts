/** How a host is, in a colour and in words. Pure. */

import type { Disk, HostMetrics, HostStatus, Link } from "@fleetcast/client";
import { percent } from "../lib/format.ts";
import { linkReason } from "../lib/freshness.ts";
import type { Tone } from "../ui/StatusDot.tsx";
import type { Counts } from "./store.ts";

export interface Condition {
  /** `muted`: it is off, and may be. */
  readonly tone: Tone;
  /** What is wrong with it, the worst first, in words. */
  readonly problems: readonly string[];
}

/** From here on a full disk or memory is trouble. */
const DISK_WARN = 90;
const DISK_BAD = 97;
const MEMORY_WARN = 95;

export const SEVERITY: Readonly<Record<Tone, number>> = { bad: 3, warn: 2, ok: 1, muted: 0 };

type Problem = readonly [tone: "bad" | "warn", words: string];

export function conditionOf(status: HostStatus, metrics: HostMetrics | null, counts: Counts | null): Condition {
  if (status.status === "gone") {
    const why = goneReason(status);
    return { tone: status.expected === "sometimes" ? "muted" : "bad", problems: [why] };
  }
  const problems = [...linkProblems(status), ...containerProblems(status, counts), ...metricsProblems(status, metrics)];
  if (problems.length === 0) return FINE;
  problems.sort((a, b) => SEVERITY[b[0]] - SEVERITY[a[0]]);
  return { tone: problems[0]?.[0] ?? "warn", problems: problems.map(([, words]) => words) };
}

export function isInTrouble(condition: Condition): boolean {
  return condition.tone === "bad" || condition.tone === "warn";
}

export function fullestDisk(metrics: HostMetrics): Disk | null {
  let fullest: Disk | null = null;
  for (const disk of metrics.disks) if (fullest === null || disk.percent > fullest.percent) fullest = disk;
  return fullest;
}

const FINE: Condition = { tone: "ok", problems: [] };

const WORKERS = ["metrics", "containers", "executor"] as const;

/** A worker that was never there is missing by choice; one that has gone is not. */
function linkProblems(status: HostStatus): Problem[] {
  const found: Problem[] = [];
  for (const worker of WORKERS) {
    const link = status.links[worker];
    if (link.state === "live" || link.reason === "never-seen") continue;
    const tone = link.state === "gone" && worker !== "executor" ? "bad" : "warn";
    found.push([tone, linkReason(worker, link)]);
  }
  return found;
}

/** What is not heard of any more is not counted as trouble of today. */
function containerProblems(status: HostStatus, counts: Counts | null): Problem[] {
  if (counts === null || status.links.containers.state !== "live") return [];
  const found: Problem[] = [];
  if (counts.unhealthy > 0) found.push(["warn", `${containers(counts.unhealthy)} unhealthy`]);
  if (counts.restarting > 0) found.push(["warn", `${containers(counts.restarting)} restarting`]);
  return found;
}

function metricsProblems(status: HostStatus, metrics: HostMetrics | null): Problem[] {
  if (metrics === null || status.links.metrics.state !== "live") return [];
  const found: Problem[] = [];
  const disk = fullestDisk(metrics);
  if (disk !== null && disk.percent >= DISK_WARN) {
    found.push([disk.percent >= DISK_BAD ? "bad" : "warn", `disk ${disk.mount} ${percent(disk.percent)} full`]);
  }
  if (metrics.memory.percent >= MEMORY_WARN) found.push(["warn", `memory ${percent(metrics.memory.percent)} full`]);
  if (metrics.stale.length > 0) found.push(["warn", `not read in time: ${metrics.stale.join(", ")}`]);
  return found;
}

function goneReason(status: HostStatus): string {
  const links: readonly Link[] = WORKERS.map((worker) => status.links[worker]);
  const reasons = new Set(links.map((link) => link.reason ?? "").filter((reason) => reason !== "never-seen"));
  if (reasons.size === 1 && reasons.has("stopped")) return status.expected === "sometimes" ? "off" : "was stopped";
  if (reasons.size === 1 && reasons.has("silent")) return "gone: nothing is heard of it";
  const broken = WORKERS.find((worker) => status.links[worker].reason !== "never-seen") ?? "metrics";
  return linkReason(broken, status.links[broken]);
}

function containers(count: number): string {
  return count === 1 ? "1 container" : `${count} containers`;
}
