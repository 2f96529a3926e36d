import type { FleetClient } from "@fleetcast/client";
import { useFleetcast } from "@fleetcast/client/react";
import { useCallback, useSyncExternalStore } from "react";

/**
 * The time on Redis' clock, ms, at steps of `everyMs` (whole seconds). All that ask share one timer; it stands still
 * while the tab is hidden and while nobody asks.
 */
export function useNow(everyMs = 1000): number {
  const clock = clockOf(useFleetcast());
  const read = useCallback(() => clock.read(everyMs), [clock, everyMs]);
  return useSyncExternalStore(clock.subscribe, read);
}

export interface Clock {
  readonly subscribe: (listener: () => void) => () => void;
  /** The last tick's time, at the step's beginning: the same between two ticks. */
  readonly read: (everyMs: number) => number;
}

/** What a clock needs of the page. */
export interface ClockPage {
  readonly isHidden: () => boolean;
  readonly onVisibility: (run: () => void) => void;
}

const TICK_MS = 1000;

export function makeClock(now: () => number, page: ClockPage): Clock {
  const listeners = new Set<() => void>();
  let timer: ReturnType<typeof setInterval> | null = null;
  let at = now();

  const tick = () => {
    at = now();
    for (const listener of listeners) listener();
  };
  const arrange = () => {
    const wanted = listeners.size > 0 && !page.isHidden();
    if (wanted && timer === null) {
      timer = setInterval(tick, TICK_MS);
      tick();
    } else if (!wanted && timer !== null) {
      clearInterval(timer);
      timer = null;
    }
  };
  page.onVisibility(arrange);

  return {
    subscribe: (listener) => {
      listeners.add(listener);
      arrange();
      return () => {
        listeners.delete(listener);
        arrange();
      };
    },
    read: (everyMs) => {
      if (timer === null && !page.isHidden()) at = Math.floor(now() / TICK_MS) * TICK_MS;
      return Math.floor(at / everyMs) * everyMs;
    },
  };
}

const clocks = new WeakMap<FleetClient, Clock>();

function clockOf(client: FleetClient): Clock {
  const known = clocks.get(client);
  if (known) return known;
  const made = makeClock(() => client.now(), {
    isHidden: () => document.hidden,
    onVisibility: (run) => document.addEventListener("visibilitychange", run),
  });
  clocks.set(client, made);
  return made;
}
