/**
 * The one connection of a client: attempt after attempt, from transport to transport, and from an old one to a new one
 * while both are there.
 */

import { DEFAULT_BACKOFF } from "./backoff.ts";
import { createBeside } from "./beside.ts";
import type { Carrier, Delivered, OpenCarrier, Wiring } from "./carrier.ts";
import { type CatchUp, createCatchUp } from "./catch_up.ts";
import type { Measurement } from "./clock.ts";
import { type Ending, lost } from "./closing.ts";
import type { Http } from "./http.ts";
import type { Hub } from "./hub.ts";
import { betterThan, DEFAULT_TRANSPORTS, type Ladder, transportOf, whenAway, whenBlocked, whenOpen } from "./ladder.ts";
import { NO_TROUBLE, planAfter } from "./plan.ts";
import { openPolling } from "./polling.ts";
import { whyNot } from "./probe.ts";
import { openEvents } from "./sse.ts";
import type { Way } from "./stages.ts";
import type { StatusHolder } from "./status.ts";
import { createTimers, type Timers } from "./timers.ts";
import { bearerOf, type TokenKeeper } from "./token.ts";
import type { Channel, ClientOptions, Environment, Session, Transport } from "./types.ts";
import { openWebSocket } from "./websocket.ts";
import type { ContainerAck, ContainerAction, Error as WireError } from "./wire.ts";

const OPEN_WITHIN_MS = 10_000;
const ASK_WITHIN_MS = 5_000;
/** A page that is shown and hidden again and again tries no more often than this. */
const WAKE_EVERY_MS = 1_000;
const POLL_EVERY_MS = 2_000;

const OPENERS: Readonly<Record<Transport, OpenCarrier>> = {
  websocket: openWebSocket,
  sse: openEvents,
  polling: openPolling,
};

export interface Parts {
  readonly options: ClientOptions;
  readonly environment: Environment;
  readonly timers: Timers;
  readonly http: Http;
  readonly tokens: TokenKeeper;
  readonly status: StatusHolder;
  readonly hub: Hub;
  /** On Redis' clock. */
  readonly serverNow: () => number;
  measured(measurement: Measurement): void;
  /** Acks, and errors about actions. */
  acked(message: ContainerAck | WireError): void;
  /** There is another way for actions now, or none. */
  wayChanged(): void;
}

export interface Link {
  start(): void;
  reconnect(): void;
  wake(): void;
  follow(): void;
  send(action: ContainerAction): boolean;
  way(): Way;
  /** The number of the connection in use. */
  over(): number;
  close(): void;
}

/** A carrier, and what it was opened with. */
interface Run {
  readonly carrier: Carrier;
  readonly token: string | null;
  readonly openedAt: number | null;
  readonly session: Session | null;
}

export function createLink(parts: Parts): Link {
  const { environment, timers, http, tokens, status, hub } = parts;
  const backoff = { ...DEFAULT_BACKOFF, ...parts.options.backoff };
  const pollIntervalMs = parts.options.pollIntervalMs ?? POLL_EVERY_MS;
  const banned = new Set<Channel>();
  const catchUp: CatchUp = createCatchUp(http, timers, (event) => hub.take(event, false), complained);
  let ladder: Ladder = { transports: transportsOf(parts.options), index: 0, blocked: 0 };
  /** At most one is set of these two: the one in use, or the one that is to be. */
  let current: Run | null = null;
  let pending: Run | null = null;
  /** Takes over from the one in use when it is ready. */
  let next: Run | null = null;
  /** Whoever awaits something goes on only while this has not moved. */
  let turn = 0;
  let count = 0;
  let trouble = NO_TROUBLE;
  let attemptedAt = 0;
  let notBefore = 0;
  let cancelRetry = (): void => undefined;
  const beside = createBeside({
    timers,
    tokens,
    serverNow: parts.serverNow,
    current: () => current,
    better: (turn) => current && betterThan(ladder, current.carrier.transport, turn),
    open: openBeside,
    complained,
  });

  // Opening

  function attempt(): void {
    turn += 1;
    cancelRetry();
    attemptedAt = environment.now();
    status.set({
      state: "connecting",
      transport: transportOf(ladder),
      retryAt: null,
      attempt: status.now.attempt + 1,
    });
    withToken(turn, (token) => {
      pending = open(transportOf(ladder), token);
    });
  }

  function withToken(asked: number, go: (token: string | null) => void): void {
    const isOurs = (): boolean => asked === turn && status.now.state === "connecting";
    const cancel = timers.after(OPEN_WITHIN_MS, () => {
      if (isOurs()) decide(lost("token() gave no answer in time"), null);
    });
    tokens.renew().then(
      (token) => {
        cancel();
        if (isOurs()) go(token);
      },
      (error: unknown) => {
        cancel();
        if (isOurs()) decide(lost(`token() failed: ${error instanceof Error ? error.message : String(error)}`), null);
      },
    );
  }

  function open(transport: Transport, token: string | null): Run {
    const own = createTimers(environment);
    const tooLate = own.after(OPEN_WITHIN_MS, () => {
      carrier.close();
      onEnded(carrier, lost("The edge did not answer in time", "ask"));
    });
    const wiring: Wiring = {
      environment,
      timers: own,
      http,
      banned,
      bearer: () => bearerOf(token),
      pollIntervalMs,
      eventsSince: catchUp.since,
      opened(session) {
        tooLate();
        onOpened(carrier, session);
      },
      ready: () => onReady(carrier),
      took: (message) => onMessage(carrier, message),
      passedOver: (events) => hub.passOver(events),
      measured(measurement) {
        parts.measured(measurement);
        if (carrier === current?.carrier) {
          status.set({ latencyMs: Math.max(0, measurement.receivedAt - measurement.sentAt) });
        }
      },
      complained,
      ended: (ending) => onEnded(carrier, ending),
    };
    const carrier = OPENERS[transport](wiring, token, hub.wanted());
    return { carrier, token, openedAt: null, session: null };
  }

  // What a carrier tells

  function onOpened(carrier: Carrier, session: Session): void {
    const openedAt = environment.now();
    if (carrier === pending?.carrier) use({ ...pending, openedAt, session });
    else if (carrier === next?.carrier) next = { ...next, openedAt, session };
  }

  function onReady(carrier: Carrier): void {
    if (carrier === next?.carrier) {
      const old = current;
      // What has happened since its last round is not lost.
      if (old?.carrier.transport === "polling") catchUp.lost(parts.serverNow() - pollIntervalMs);
      catchUp.hold();
      use(next);
      old?.carrier.close();
      catchUp.fetch(hub.wanted);
    } else if (carrier === current?.carrier) {
      if (carrier.transport === "polling") catchUp.release();
      else catchUp.fetch(hub.wanted);
    }
  }

  function onMessage(carrier: Carrier, message: Delivered): void {
    const isCurrent = carrier === current?.carrier;
    if (message.type === "container-ack" || message.type === "error") parts.acked(message);
    else if (message.type !== "event" || carrier.transport === "polling" || catchUp.passes(message)) {
      hub.take(message, isCurrent && carrier.transport !== "polling");
    }
  }

  function onEnded(carrier: Carrier, ending: Ending): void {
    if (carrier === next?.carrier) {
      if (next.token !== current?.token) beside.failed();
      next = null;
      complained(ending.message, ending.code);
    } else if (carrier === pending?.carrier) {
      pending = null;
      void failed(ending);
    } else if (carrier === current?.carrier) {
      broke(current, ending);
    }
  }

  /** From now on this one carries the messages. */
  function use(run: Run): void {
    const { session, carrier } = run;
    const isFirst = current === null;
    current = run;
    pending = next = null;
    turn += 1;
    count += 1;
    ladder = whenOpen(ladder, carrier.transport);
    hub.rebase();
    if (isFirst && carrier.transport !== "polling") catchUp.hold();
    carrier.follow(hub.wanted());
    status.set({ state: "open", transport: carrier.transport, session, retryAt: null, attempt: 0 });
    beside.plan();
    parts.wayChanged();
  }

  /** The one in use has ended. */
  function broke(run: Run, ending: Ending): void {
    current = null;
    beside.stop();
    catchUp.lost(parts.serverNow());
    problem(ending.message, ending.code);
    status.set({ latencyMs: null });
    if (next?.openedAt != null) {
      use(next);
      return;
    }
    if (next !== null && ending.next === "again") {
      pending = next;
      next = null;
      status.set({ state: "connecting", transport: pending.carrier.transport, attempt: 1 });
    } else {
      dropNext();
      decide(ending, environment.now() - (run.openedAt ?? 0));
    }
    parts.wayChanged();
  }

  // What comes next

  async function failed(ending: Ending): Promise<void> {
    if (ending.next !== "ask") {
      // Who is told "not now" here has not got through elsewhere for that reason, maybe.
      if (ending.code === null || ending.code === 503) ladder = whenAway(ladder);
      decide(ending, null);
      return;
    }
    const asked = turn;
    const limit = new AbortController();
    const cancel = timers.after(ASK_WITHIN_MS, () => limit.abort());
    const why = await whyNot(http, environment.now, limit.signal);
    cancel();
    if (asked !== turn) return;
    if (why !== null) {
      if (why.code === null && why.next === "again") ladder = whenAway(ladder);
      decide(why, null);
      return;
    }
    const { index } = ladder;
    ladder = whenBlocked(ladder);
    const blocked = `${ending.message}, though the edge answers: ${status.now.transport} does not get through`;
    if (ladder.index === index) {
      decide(lost(blocked), null);
    } else {
      problem(blocked, null);
      attempt();
    }
  }

  /** `openMs`: how long it was open; null where it never was. */
  function decide(ending: Ending, openMs: number | null): void {
    turn += 1;
    problem(ending.message, ending.code);
    const planned = planAfter(ending, openMs, trouble, backoff, environment.random());
    const { plan } = planned;
    trouble = planned.trouble;
    switch (plan.do) {
      case "refuse":
        status.set({ state: "refused", retryAt: null });
        break;
      case "sign-out":
        status.set({ state: "signed-out", retryAt: null });
        break;
      case "try":
        attempt();
        break;
      case "wait": {
        const now = environment.now();
        notBefore = now + plan.notBeforeMs;
        cancelRetry();
        cancelRetry = timers.after(plan.waitMs, attempt);
        status.set({ state: "waiting", retryAt: now + plan.waitMs });
      }
    }
  }

  function openBeside(transport: Transport, token: string | null): void {
    if (current === null || next !== null) return;
    // Each of its requests takes the token that there is then.
    if (transport === "polling") current = { ...current, token };
    else next = open(transport, token);
  }

  function dropNext(): void {
    next?.carrier.close();
    next = null;
  }

  // Status

  function problem(message: string, code: number | null): void {
    status.set({ lastError: { code, message, at: environment.now() } });
  }

  function complained(message: string, code: number | null = null): void {
    if (status.now.state !== "closed") problem(message, code);
  }

  return {
    start: attempt,
    reconnect() {
      if (status.now.state === "closed") return;
      banned.clear();
      trouble = { ...trouble, hasAskedAgain: false };
      if (current !== null) {
        beside.now();
      } else if (pending === null) {
        attempt();
      }
    },
    wake() {
      const now = environment.now();
      if (current !== null) current.carrier.check();
      else if (status.now.state === "waiting" && now >= notBefore && now - attemptedAt >= WAKE_EVERY_MS) attempt();
    },
    follow() {
      current?.carrier.follow(hub.wanted());
      pending?.carrier.follow(hub.wanted());
      next?.carrier.follow(hub.wanted());
    },
    send: (action) => current?.carrier.send(action) ?? false,
    way() {
      if (current === null) return "none";
      return current.carrier.transport === "websocket" ? "socket" : "http";
    },
    over: () => count,
    close() {
      turn += 1;
      for (const run of [current, pending, next]) run?.carrier.close();
      current = pending = next = null;
      status.set({ state: "closed", retryAt: null, latencyMs: null });
    },
  };
}

/** Each once, in their order. */
function transportsOf({ transports = DEFAULT_TRANSPORTS }: ClientOptions): readonly Transport[] {
  return transports.length > 0 ? [...new Set(transports)] : DEFAULT_TRANSPORTS;
}
