/** Server-sent events as a carrier, read with `fetch`: an `EventSource` could send no token. */

import { type Carrier, OTHER_PROTOCOL, PROTOCOL, sessionOf, type Wiring } from "./carrier.ts";
import { hostOf, MOST_SUBSCRIPTIONS, needed } from "./channels.ts";
import { type Ending, lost } from "./closing.ts";
import { FleetcastError } from "./errors.ts";
import { createEventStreamReader } from "./event_stream.ts";
import { type Watch, watch } from "./liveness.ts";
import { checkMessage, readMessage } from "./parse.ts";
import { afterError, probe } from "./probe.ts";
import type { Channel } from "./types.ts";
import type { Connected } from "./wire.ts";

/** Proxies take a line of 8 KiB. */
const MOST_CHARS = 6_000;

/** Another set of channels is another stream: so often there may be one. */
const CHANGES_EVERY_MS = 500;

const MEASURE_EVERY_MS = 15_000;

interface Stream {
  readonly channels: readonly Channel[];
  readonly controller: AbortController;
  life: Watch | null;
  /** What the edge has said last on when to come back, after its first word. */
  retries: readonly number[];
}

export function openEvents(wiring: Wiring, _token: string | null, channels: readonly Channel[]): Carrier {
  const { environment, timers } = wiring;
  let wanted = channels;
  let current: Stream | null = null;
  let next: Stream | null = null;
  let isOpen = false;
  let isOver = false;
  let isPausing = false;
  let hasComplained = false;

  function end(ending: Ending): void {
    if (isOver) return;
    stop();
    wiring.ended(ending);
  }

  function stop(): void {
    isOver = true;
    timers.stop();
    current?.controller.abort();
    next?.controller.abort();
  }

  /** Opens a stream of what is wanted now. The one before goes when this one has come. */
  function change(): void {
    if (isOver || isPausing) return;
    const chosen = chosenOf(wanted, wiring.banned);
    if (sameAs((next ?? current)?.channels ?? [], chosen)) return;
    isPausing = true;
    timers.after(CHANGES_EVERY_MS, () => {
      isPausing = false;
      change();
    });
    next?.controller.abort();
    const stream: Stream = { channels: chosen, controller: new AbortController(), life: null, retries: [] };
    next = stream;
    void follow(stream);
  }

  async function follow(stream: Stream): Promise<void> {
    const { signal } = stream.controller;
    try {
      const answer = await wiring.http.open(`/api/events?channels=${stream.channels.join(",")}`, signal);
      await readAll(stream, answer);
      if (!signal.aborted) end(ended(stream));
    } catch (error) {
      if (signal.aborted) return;
      if (await isWithoutSome(stream, error)) {
        next = null;
        isPausing = false;
        change();
        return;
      }
      const ending = afterError(error);
      end(!isOpen && ending.code === null ? { ...ending, next: "ask" } : ending);
    }
  }

  async function readAll(stream: Stream, answer: Response): Promise<void> {
    if (answer.body === null) throw new FleetcastError("the stream has no body", null, null);
    const text = answer.body.pipeThrough(new TextDecoderStream());
    const lines = createEventStreamReader();
    const reader = text.getReader();
    while (!stream.controller.signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      const fields = lines.read(value);
      if (fields === null) throw new FleetcastError("the stream has a line without an end", null, null);
      for (const field of fields) {
        if (stream.controller.signal.aborted) return;
        if ("retryMs" in field) stream.retries = [...stream.retries, field.retryMs].slice(-2);
        else take(stream, field.data);
      }
    }
  }

  /** Where one host may not be seen, nothing is streamed: true where another try without it is worth it. */
  async function isWithoutSome(stream: Stream, error: unknown): Promise<boolean> {
    if (!(error instanceof FleetcastError) || error.status !== 403 || error.code !== "forbidden") return false;
    try {
      const roster = checkMessage(await wiring.http.json("/api/hosts", { signal: stream.controller.signal }));
      if (typeof roster === "string" || roster.type !== "hosts") return false;
      const seen = new Set<string | null>([null, ...roster.hosts.map((status) => status.host)]);
      const hidden = stream.channels.filter((channel) => !seen.has(hostOf(channel)));
      for (const channel of hidden) wiring.banned.add(channel);
      if (hidden.length > 0) wiring.complained(`The edge refuses ${hidden.join(", ")}: ${error.message}`);
      return hidden.length > 0 && !stream.controller.signal.aborted;
    } catch (problem) {
      wiring.complained(afterError(problem).message);
      return false;
    }
  }

  function take(stream: Stream, data: string): void {
    stream.life?.heard();
    const message = readMessage(data);
    if (message === "unknown") return;
    if (message === "malformed") {
      if (!hasComplained) wiring.complained("The edge has sent something that is no message: it was left out");
      hasComplained = true;
    } else if (message.type === "connected") {
      takeOver(stream, message);
    } else if (message.type !== "heartbeat" && isOpen) {
      wiring.took(message);
    }
  }

  function takeOver(stream: Stream, connected: Connected): void {
    if (connected.protocol !== PROTOCOL) {
      end(lost(OTHER_PROTOCOL, "stop"));
      return;
    }
    if (stream !== next) return;
    current?.life?.stop();
    current?.controller.abort();
    current = stream;
    next = null;
    const { heartbeatIntervalMs: intervalMs } = connected;
    const dead = (): void => end(lost("The edge has not been heard of for too long"));
    // It cannot be asked: its next heartbeat has to do.
    stream.life = watch(environment, timers, { intervalMs, answerWithinMs: 1.5 * intervalMs }, () => undefined, dead);
    if (isOpen) return;
    isOpen = true;
    wiring.opened(sessionOf(connected));
    if (!isOver) wiring.ready();
    if (!isOver) measureOnAndOn();
  }

  function measureOnAndOn(): void {
    timers.after(MEASURE_EVERY_MS, measureOnAndOn);
    probe(wiring.http, environment.now).then(
      ({ measurement }) => {
        if (!isOver) wiring.measured(measurement);
      },
      () => undefined, // where the edge is away, the stream's end tells
    );
  }

  change();
  return {
    transport: "sse",
    follow(channels) {
      wanted = channels;
      change();
    },
    send: () => false,
    check: () => current?.life?.check(),
    close: stop,
  };
}

/** Never none: an edge streams only what is named, and the roster is small. */
function chosenOf(wanted: readonly Channel[], banned: ReadonlySet<Channel>): readonly Channel[] {
  const chosen = needed(
    wanted.filter((channel) => !banned.has(channel)),
    MOST_SUBSCRIPTIONS,
    MOST_CHARS,
  );
  return chosen.length > 0 ? chosen : ["hosts"];
}

function sameAs(one: readonly Channel[], other: readonly Channel[]): boolean {
  const others = new Set(other);
  return one.length === others.size && one.every((channel) => others.has(channel));
}

/** The edge's first `retry` is for everybody; one more ends the stream, and says when to come back. */
function ended(stream: Stream): Ending {
  const [, afterMs] = stream.retries;
  if (afterMs === undefined) return lost("The stream has ended");
  return { ...lost("The edge is restarting"), afterMs: Math.min(afterMs, 60_000) };
}
