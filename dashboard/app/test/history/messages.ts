import type { HostMetrics, MetricsColumns, MetricsMessage, UsageMessage } from "@fleetcast/client";

export const NOW = 1_800_000_000_000;

export function hostMetrics(changes: Partial<HostMetrics> = {}): HostMetrics {
  return {
    cpu: { percent: 10, perCorePercent: [5, 15], cores: 2, load: [0.5, 0.4, 0.3] },
    memory: { totalBytes: 1000, usedBytes: 400, availableBytes: 600, percent: 40 },
    swap: { totalBytes: 0, usedBytes: 0, percent: 0 },
    disks: [{ mount: "/", totalBytes: 100, usedBytes: 50, percent: 50 }],
    diskIo: { readBytesPerSec: 1, writeBytesPerSec: 2 },
    network: [
      { interface: "eth0", rxBytesPerSec: 100, txBytesPerSec: 10 },
      { interface: "eth1", rxBytesPerSec: 50, txBytesPerSec: 5 },
    ],
    temperatures: [{ sensor: "cpu", celsius: 50 }],
    uptimeSec: 3600,
    processes: 100,
    stale: [],
    ...changes,
  };
}

export function metrics(sampledAt: number, cpu = 10, changes: Partial<MetricsMessage> = {}): MetricsMessage {
  const data = hostMetrics({ cpu: { percent: cpu, perCorePercent: [cpu, cpu], cores: 2, load: [0.5, 0.4, 0.3] } });
  return { type: "metrics", host: "web-1", epoch: 1, seq: sampledAt - NOW, sampledAt, data, ...changes };
}

export function columns(sampledAt: readonly number[], cpu: readonly (number | null)[]): MetricsColumns {
  const all = (value: number) => sampledAt.map(() => value);
  return {
    sampledAt,
    cpuPercent: [...cpu],
    perCorePercent: [[...cpu], [...cpu]],
    load1: all(1),
    memoryUsedBytes: all(400),
    memoryTotalBytes: all(1000),
    swapUsedBytes: all(0),
    disks: { "/": all(50) },
    readBytesPerSec: all(1),
    writeBytesPerSec: all(2),
    rxBytesPerSec: all(150),
    txBytesPerSec: all(15),
    temperatures: { cpu: all(50) },
  };
}

export function usage(sampledAt: number, ids: readonly string[], cpu: number): UsageMessage {
  const all = (value: number) => ids.map(() => value);
  const data = {
    ...{ cores: 2, ids, cpuPercent: all(cpu), memoryBytes: all(1), memoryLimitBytes: all(2), pids: all(1) },
    ...{ rxBytesPerSec: all(3), txBytesPerSec: all(4), readBytesPerSec: all(5), writeBytesPerSec: all(6) },
  };
  return { type: "usage", host: "web-1", epoch: 1, seq: 1, sampledAt, data };
}
