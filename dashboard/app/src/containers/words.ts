/** Short words for what Docker says of a container. Pure. */

import type { Container, Port } from "@fleetcast/client";
import type { Tone } from "../ui/StatusDot.tsx";

export interface Standing {
  readonly tone: Tone;
  /** "up", "exited (137)". */
  readonly word: string;
  /** Since when, ms; null where that is not known or of no use. */
  readonly since: number | null;
}

/** Ended by a signal that somebody has sent, as a rule with a stop. */
const ASKED_TO_END = new Set([0, 130, 137, 143]);

export function standingOf(container: Container): Standing {
  const { state, health, startedAt, finishedAt, createdAt, exitCode, oomKilled } = container;
  switch (state) {
    case "running":
      return { tone: runningTone(health), word: "up", since: startedAt };
    case "paused":
      return { tone: "warn", word: "paused", since: null };
    case "restarting":
      return { tone: "warn", word: "restarting", since: null };
    case "removing":
      return { tone: "warn", word: "removing", since: null };
    case "created":
      return { tone: "muted", word: "created", since: createdAt };
    case "dead":
      return { tone: "bad", word: "dead", since: finishedAt };
    case "exited":
      if (oomKilled) return { tone: "bad", word: "out of memory", since: finishedAt };
      return {
        tone: exitCode === null || ASKED_TO_END.has(exitCode) ? "muted" : "bad",
        word: exitCode === null ? "exited" : `exited (${exitCode})`,
        since: finishedAt,
      };
  }
}

export function healthTone(health: Container["health"]): Tone {
  if (health === "healthy") return "ok";
  return health === "unhealthy" ? "bad" : "warn";
}

/** Without registry, path and digest: `ghcr.io/acme/web:1.2@sha256:…` is `web:1.2`; a bare id its first 12. */
export function shortImage(image: string): string {
  const [named = image] = image.split("@");
  if (/^(sha256:)?[0-9a-f]{64}$/.test(named)) return named.replace("sha256:", "").slice(0, 12);
  return named.slice(named.lastIndexOf("/") + 1);
}

/** `8080→80`, `127.0.0.1:9000→9000/udp`, `443` where it is not published; each once, published ones first. */
export function portWords(ports: readonly Port[]): readonly string[] {
  const published = ports.filter((port) => port.hostPort !== null);
  const inside = new Set(published.map((port) => `${port.containerPort}/${port.protocol}`));
  const exposed = ports.filter(
    (port) => port.hostPort === null && !inside.has(`${port.containerPort}/${port.protocol}`),
  );
  return [...new Set([...published, ...exposed].map(portWord))];
}

function portWord({ ip, hostPort, containerPort, protocol }: Port): string {
  const suffix = protocol === "tcp" ? "" : `/${protocol}`;
  if (hostPort === null) return `${containerPort}${suffix}`;
  const anywhere = ip === null || ip === "" || ip === "0.0.0.0" || ip === "::";
  const address = anywhere ? "" : `${ip.includes(":") ? `[${ip}]` : ip}:`;
  return `${address}${hostPort}→${containerPort}${suffix}`;
}

function runningTone(health: Container["health"]): Tone {
  if (health === "unhealthy") return "bad";
  return health === "starting" ? "warn" : "ok";
}
