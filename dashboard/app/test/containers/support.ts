import type { Container, ContainersMessage, UsageMessage } from "@fleetcast/client";
import type { Row } from "../../src/containers/rows.ts";
import { container } from "../actions/support.ts";

export function row(about: Partial<Container> = {}, host = "node-1"): Row {
  const made = container(about);
  return { key: `${host}/${made.id}`, host, container: made, goneAt: null };
}

export function containers(data: readonly Container[], host = "node-1", seq = 1): ContainersMessage {
  return { type: "containers", host, epoch: 1, seq, sampledAt: 1_000, data };
}

/** Of each container: CPU percent and bytes of memory. */
export function usage(used: Readonly<Record<string, readonly [number | null, number | null]>>, host = "node-1") {
  const ids = Object.keys(used);
  const column = (at: 0 | 1) => ids.map((id) => used[id]?.[at] ?? null);
  const none = ids.map(() => null);
  return {
    type: "usage",
    host,
    epoch: 1,
    seq: 1,
    sampledAt: 1_000,
    data: {
      cores: 4,
      ids,
      cpuPercent: column(0),
      memoryBytes: column(1),
      memoryLimitBytes: ids.map(() => 1024 ** 3),
      rxBytesPerSec: none,
      txBytesPerSec: none,
      readBytesPerSec: none,
      writeBytesPerSec: none,
      pids: none,
    },
  } satisfies UsageMessage;
}
