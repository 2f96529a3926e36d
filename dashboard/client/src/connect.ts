/** Puts a client together. */

import { createActionDesk } from "./actions.ts";
import { type Measurements, offsetOf, remember } from "./clock.ts";
import { defaultEnvironment } from "./environment.ts";
import { createHttp } from "./http.ts";
import { createHub } from "./hub.ts";
import { DEFAULT_TRANSPORTS } from "./ladder.ts";
import { createLink } from "./link.ts";
import { createStatus, FIRST_STATUS } from "./status.ts";
import { createTimers } from "./timers.ts";
import { createTokenKeeper } from "./token.ts";
import type { ClientOptions, FleetClient } from "./types.ts";

/**
 * A connection to an edge that looks after itself, from now until `close()`. Throws FleetcastError where `url` is none.
 */
export function connect(options: ClientOptions = {}): FleetClient {
  const environment = { ...defaultEnvironment(), ...options.environment };
  const timers = createTimers(environment);
  let measurements: Measurements = [];
  const serverNow = (): number => environment.now() + offsetOf(measurements);

  const tokens = createTokenKeeper(options.token, serverNow);
  const http = createHttp(options.url, environment, timers, tokens);
  const transport = options.transports?.[0] ?? DEFAULT_TRANSPORTS[0] ?? FIRST_STATUS.transport;
  const status = createStatus({ ...FIRST_STATUS, transport });
  const hub = createHub(timers, serverNow, {
    wantedChanged: () => link.follow(),
    skippedChanged: (skippedFrames) => status.set({ skippedFrames }),
  });
  const desk = createActionDesk({
    environment,
    timers,
    http,
    way: () => link.way(),
    over: () => link.over(),
    send: (action) => link.send(action),
    roster: () => hub.roster(),
  });
  const link = createLink({
    options,
    environment,
    timers,
    http,
    tokens,
    status,
    hub,
    serverNow,
    measured(measurement) {
      measurements = remember(measurements, measurement);
    },
    acked: (message) => desk.take(message),
    wayChanged: () => desk.wayChanged(),
  });
  const sleep = environment.onWake(() => link.wake());
  link.start();

  return {
    get status() {
      return status.now;
    },
    onStatus: (handler) => status.on(handler),
    subscribe: (channel, handler) => hub.subscribe(channel, handler),
    act: (request) => desk.act(request),
    actOnAll: (request) => desk.actOnAll(request),
    get: (path, signal) => http.json(path, signal === undefined ? {} : { signal }),
    now: () => Math.round(serverNow()),
    reconnect: () => link.reconnect(),
    close() {
      if (status.now.state === "closed") return;
      sleep();
      desk.close();
      link.close();
      hub.close();
      http.close();
      timers.stop();
    },
  };
}
