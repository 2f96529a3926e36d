/** What comes from the wire, checked where it enters. Pure. */

import type { ServerMessage } from "./wire.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A message; `unknown` where a later version has sent it; `malformed` where it is none. */
export function readMessage(text: unknown): ServerMessage | "unknown" | "malformed" {
  if (typeof text !== "string") return "malformed";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "malformed";
  }
  return checkMessage(value);
}

export function checkMessage(value: unknown): ServerMessage | "unknown" | "malformed" {
  if (!isRecord(value) || typeof value["type"] !== "string") return "malformed";
  const check = Object.hasOwn(CHECKS, value["type"]) ? CHECKS[value["type"] as ServerMessage["type"]] : undefined;
  if (check === undefined) return "unknown";
  return check(value) ? (value as unknown as ServerMessage) : "malformed";
}

export function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields that the core and whoever shows a message cannot do without; further down the edge is trusted. */
const CHECKS: Readonly<Record<ServerMessage["type"], (message: Fields) => boolean>> = {
  connected: (m) =>
    texts(m, "clientId", "edgeId", "user") &&
    numbers(m, "protocol", "serverTime", "heartbeatIntervalMs") &&
    (m["heartbeatIntervalMs"] as number) > 0 &&
    (m["role"] === "viewer" || m["role"] === "operator" || m["role"] === "admin"),
  metrics: (m) =>
    isState(m) &&
    isRecord(m["data"]) &&
    records(m["data"], "cpu", "memory", "swap", "diskIo") &&
    lists(m["data"], "disks", "network", "temperatures", "stale"),
  containers: (m) => isState(m) && isListOf(m["data"], (one) => texts(one, "id", "name", "state")),
  usage: (m) => isState(m) && isRecord(m["data"]) && lists(m["data"], "ids", "cpuPercent", "memoryBytes"),
  processes: (m) => isState(m) && isRecord(m["data"]) && lists(m["data"], "byCpu", "byMemory"),
  event: (m) => texts(m, "host", "containerId", "name") && numbers(m, "at"),
  hosts: (m) => isListOf(m["hosts"], (one) => texts(one, "host", "status") && isRecord(one["links"])),
  "container-ack": (m) =>
    texts(m, "requestId", "host", "containerId", "status") && numbers(m, "at") && isTarget(m["target"]),
  heartbeat: (m) => numbers(m, "serverTime"),
  error: (m) => texts(m, "code", "message") && isTarget(m["target"]),
};

function isState(message: Fields): boolean {
  return texts(message, "host") && numbers(message, "epoch", "seq", "sampledAt");
}

function isListOf(value: unknown, check: (one: Fields) => boolean): boolean {
  return Array.isArray(value) && value.every((one) => isRecord(one) && check(one));
}

function isTarget(value: unknown): boolean {
  return value === undefined || value === null || Number.isInteger(value);
}

function records(fields: Fields, ...names: readonly string[]): boolean {
  return names.every((name) => isRecord(fields[name]));
}

function lists(fields: Fields, ...names: readonly string[]): boolean {
  return names.every((name) => Array.isArray(fields[name]));
}

function texts(message: Fields, ...names: readonly string[]): boolean {
  return names.every((name) => typeof message[name] === "string");
}

function numbers(message: Fields, ...names: readonly string[]): boolean {
  return names.every((name) => Number.isFinite(message[name]));
}
