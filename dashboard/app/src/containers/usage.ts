/** What one container uses, looked up in its host's last message; and a board that rows listen to one by one. */

import type { UsageMessage } from "@fleetcast/client";
import { createContext, useCallback, useContext, useSyncExternalStore } from "react";

export interface ContainerUsage {
  /** 100 = one core. */
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
  /** The host's memory where it has no limit. */
  readonly memoryLimitBytes: number | null;
  readonly cores: number;
}

export type UsageByHost = Readonly<Record<string, UsageMessage>>;

const indexes = new WeakMap<UsageMessage, ReadonlyMap<string, number>>();

/** Null where the message does not know the container. The index is built once a message. */
export function usageOf(message: UsageMessage | undefined, id: string): ContainerUsage | null {
  if (message === undefined) return null;
  let index = indexes.get(message);
  if (index === undefined) {
    index = new Map(message.data.ids.map((one, at) => [one, at]));
    indexes.set(message, index);
  }
  const at = index.get(id);
  if (at === undefined) return null;
  const { cpuPercent, memoryBytes, memoryLimitBytes, cores } = message.data;
  return {
    cpuPercent: cpuPercent[at] ?? null,
    memoryBytes: memoryBytes[at] ?? null,
    memoryLimitBytes: memoryLimitBytes[at] ?? null,
    cores,
  };
}

/** The last usage of all shown hosts, outside of React: a second's news concerns the cells that show it and no list. */
export interface UsageBoard {
  subscribe(onChange: () => void): () => void;
  current(): UsageByHost;
  put(usage: UsageByHost): void;
}

export function createUsageBoard(): UsageBoard {
  let usage: UsageByHost = {};
  const listeners = new Set<() => void>();
  return {
    subscribe(onChange) {
      listeners.add(onChange);
      return () => listeners.delete(onChange);
    },
    current: () => usage,
    put(next) {
      if (next === usage) return;
      usage = next;
      for (const listener of listeners) listener();
    },
  };
}

export const UsageBoardContext = createContext<UsageBoard>(createUsageBoard());

/**
 * A figure of one container: renders again only when it is another one. `read` has to be the same function each time,
 * and its answer a plain value.
 */
export function useUsageFigure<T extends number | string | null>(
  host: string,
  id: string,
  read: (usage: ContainerUsage) => T,
): T | null {
  const board = useContext(UsageBoardContext);
  const snapshot = useCallback(() => {
    const usage = usageOf(board.current()[host], id);
    return usage === null ? null : read(usage);
  }, [board, host, id, read]);
  return useSyncExternalStore(board.subscribe, snapshot);
}
