/** What a host's header says. Pure. */

import type { HostStatus, Link } from "@fleetcast/client";
import { linkReason } from "../lib/freshness.ts";
import type { Tone } from "../ui/StatusDot.tsx";

export interface LinkWords {
  readonly name: string;
  readonly tone: Tone;
  readonly words: string;
}

/** The three links of a host, each with its state and, where it is not live, the reason. */
export function linkWords({ links, expected }: HostStatus): readonly LinkWords[] {
  return (["metrics", "containers", "executor"] as const).map((name) => ({
    name: name[0]?.toUpperCase() + name.slice(1),
    tone: toneOf(links[name], expected),
    words: wordsOf(name, links[name]),
  }));
}

export function statusTone({ status, expected }: Pick<HostStatus, "status" | "expected">): Tone {
  return toneOf({ state: status }, expected);
}

function toneOf(link: Link, expected: HostStatus["expected"]): Tone {
  if (link.state === "live") return link.reason === undefined ? "ok" : "warn";
  if (expected === "sometimes" && link.state === "gone") return "muted";
  return link.state === "gone" ? "bad" : "warn";
}

function wordsOf(kind: "metrics" | "containers" | "executor", link: Link): string {
  if (link.state !== "live") return linkReason(kind, link);
  if (link.reason === undefined) return "live";
  return link.reason === "insecure-unsigned" ? "live, does actions that nobody has signed" : `live, ${link.reason}`;
}

export function usageWords(usage: HostStatus["usage"]): string | null {
  if (usage === undefined) return null;
  return usage === "cgroup" ? "from the kernel (cgroups)" : "from the engine's statistics";
}

/** The hosts before and after, by name; null at either end and for a host that is not among them. */
export function neighbours(hosts: readonly string[], host: string): readonly [string | null, string | null] {
  const sorted = [...hosts].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const index = sorted.indexOf(host);
  if (index < 0) return [null, null];
  return [sorted[index - 1] ?? null, sorted[index + 1] ?? null];
}
