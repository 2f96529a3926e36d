/** Polling as a carrier, where nothing else gets through. */

import { type Carrier, OTHER_PROTOCOL, PROTOCOL, type Wiring } from "./carrier.ts";
import { hostOf, kindOf } from "./channels.ts";
import { type Ending, lost } from "./closing.ts";
import { FleetcastError } from "./errors.ts";
import { createGate } from "./gate.ts";
import { eventPaths, eventsOf } from "./last_events.ts";
import { checkMessage } from "./parse.ts";
import { afterError, probe } from "./probe.ts";
import type { Channel } from "./types.ts";
import type { HostsMessage } from "./wire.ts";

const AT_A_TIME = 4;

export function openPolling(wiring: Wiring, _token: string | null, channels: readonly Channel[]): Carrier {
  const { environment, timers, http } = wiring;
  const controller = new AbortController();
  const gate = createGate(AT_A_TIME);
  /** Where events have been asked for before: what comes then is new. */
  const asked = new Set<string>();
  let wanted = channels;
  let isOpen = false;
  let isReady = false;
  let isOver = false;
  let isRunning = false;
  let isDue = false;
  let cancel = (): void => undefined;

  function end(ending: Ending): void {
    if (isOver) return;
    stop();
    wiring.ended(ending);
  }

  function stop(): void {
    isOver = true;
    timers.stop();
    controller.abort();
  }

  function run(): void {
    if (isRunning || isOver) {
      isDue = true;
      return;
    }
    cancel();
    isRunning = true;
    isDue = false;
    round()
      .catch((error: unknown) => end(afterError(error)))
      .finally(() => {
        isRunning = false;
        if (isDue) run();
        else cancel = timers.after(wiring.pollIntervalMs, run);
      });
  }

  /** Throws where the edge is away. */
  async function round(): Promise<void> {
    const { status, measurement } = await probe(http, environment.now, controller.signal);
    if (status.protocol !== PROTOCOL) {
      end(lost(OTHER_PROTOCOL, "stop"));
      return;
    }
    const roster = checkMessage(await get("/api/hosts"));
    if (typeof roster === "string" || roster.type !== "hosts") throw new FleetcastError("no roster came", null, null);
    if (isOver) return;
    wiring.measured(measurement);
    if (!isOpen) {
      isOpen = true;
      wiring.opened({ clientId: "", edgeId: status.edgeId, ...wiring.bearer() });
      if (isOver) return;
    }
    wiring.took(roster);
    const jobs = [
      ...eventPaths(allowed()).map((path) => () => events(path)),
      ...statePaths(allowed(), roster).map((path) => () => state(path)),
    ];
    await Promise.all(jobs.map((job) => gate(job)));
    if (isReady || isOver) return;
    isReady = true;
    wiring.ready();
  }

  function allowed(): readonly Channel[] {
    return wanted.filter((channel) => !wiring.banned.has(channel));
  }

  async function events(path: string): Promise<void> {
    const answer = await getIfThere(path);
    if (answer === null) return;
    const since = asked.has(path) ? 0 : ((isReady ? null : wiring.eventsSince) ?? Infinity);
    asked.add(path);
    const found = eventsOf(answer);
    wiring.passedOver(found.filter((event) => event.at < since));
    for (const event of found) if (!isOver && event.at >= since) wiring.took(event);
  }

  async function state(path: string): Promise<void> {
    const message = checkMessage(await getIfThere(path));
    if (!isOver && typeof message !== "string" && message.type !== "connected" && message.type !== "heartbeat") {
      wiring.took(message);
    }
  }

  /** Null where there is nothing, or nothing for this user: it may come later. */
  async function getIfThere(path: string): Promise<unknown> {
    try {
      return isOver ? null : await get(path);
    } catch (error) {
      if (!(error instanceof FleetcastError) || error.status === null || error.status === 401) throw error;
      if (error.status !== 404) wiring.complained(afterError(error).message);
      return null;
    }
  }

  function get(path: string): Promise<unknown> {
    return http.json(path, { signal: controller.signal });
  }

  run();
  return {
    transport: "polling",
    follow(channels) {
      wanted = channels;
      if (isOpen) run();
    },
    send: () => false,
    check: run,
    close: stop,
  };
}

/** A kind alone is each host of the roster. Pure. */
export function statePaths(channels: readonly Channel[], roster: HostsMessage): readonly string[] {
  return channels.flatMap((channel) => {
    const kind = kindOf(channel);
    if (kind === "events" || kind === "hosts") return [];
    const host = hostOf(channel);
    const hosts = host === null ? roster.hosts.map((status) => status.host) : [host];
    return hosts.map((one) => `/api/hosts/${one}/${kind}`);
  });
}
