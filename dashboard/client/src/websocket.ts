/** A WebSocket as a carrier. */

import { type Carrier, type Delivered, OTHER_PROTOCOL, PROTOCOL, sessionOf, type Wiring } from "./carrier.ts";
import { afterClose, type Ending, lost } from "./closing.ts";
import { type Watch, watch } from "./liveness.ts";
import { readMessage } from "./parse.ts";
import { createSubscriptions } from "./subscriptions.ts";
import type { Channel } from "./types.ts";
import type { ClientMessage, Connected, Heartbeat, Error as WireError } from "./wire.ts";

const PING_EVERY_MS = 5_000;
const MOST_PINGS = 10;

/** A ping's answer. */
const ANSWER_WITHIN_MS = 5_000;

/** After an edge has left something unread, it is given this long before it is asked again. */
const RATE_LIMITED_MS = 2_000;

/** What a subscription is refused with; `unavailable` is no refusal: data comes when Redis is back. */
const REFUSALS: ReadonlySet<WireError["code"]> = new Set([
  "forbidden",
  "unknown-channel",
  "invalid-message",
  "too-large",
]);

export function openWebSocket(wiring: Wiring, token: string | null, channels: readonly Channel[]): Carrier {
  const { environment, timers } = wiring;
  const subscriptions = createSubscriptions(wiring.banned);
  const pings = new Map<string, number>();
  let wanted = channels;
  let socket: WebSocket | null = null;
  let life: Watch | null = null;
  let isOpen = false;
  let isReady = false;
  let isOver = false;
  let isRetrying = false;
  let hasComplained = false;
  let pinged = 0;

  function begin(): void {
    const protocols = ["fleetcast.v1", ...(token === null ? [] : [`bearer.${token}`])];
    try {
      socket = new environment.WebSocket(wiring.http.socketUrl(), protocols);
    } catch (error) {
      // Not there at all, or it does not take this token or address.
      timers.after(0, () => end(lost(`No WebSocket could be made: ${String(error)}`, "ask")));
      return;
    }
    socket.onmessage = (event: MessageEvent<unknown>) => take(event.data);
    socket.onclose = (event: CloseEvent) => end(afterClose(event.code, event.reason, isOpen));
    socket.onerror = () => undefined; // it says nothing, and `close` follows
  }

  function end(ending: Ending): void {
    if (isOver) return;
    stop();
    wiring.ended(ending);
  }

  function stop(): void {
    isOver = true;
    timers.stop();
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  function send(messages: readonly ClientMessage[]): void {
    if (socket?.readyState !== 1) return; // its end is about to be told
    for (const message of messages) socket.send(JSON.stringify(message));
  }

  function take(data: unknown): void {
    life?.heard();
    const message = readMessage(data);
    if (message === "unknown") return;
    if (message === "malformed") {
      if (!hasComplained) wiring.complained("The edge has sent something that is no message: it was left out");
      hasComplained = true;
      return;
    }
    switch (message.type) {
      case "connected":
        open(message);
        break;
      case "heartbeat":
        beat(message);
        break;
      case "error":
        refuse(message);
        break;
      default:
        deliver(message);
    }
  }

  function deliver(message: Delivered): void {
    if (isOpen) wiring.took(message);
  }

  function open(connected: Connected): void {
    if (isOpen) return;
    if (connected.protocol !== PROTOCOL) {
      end(lost(OTHER_PROTOCOL, "stop"));
      return;
    }
    isOpen = true;
    const dead = (): void => end(lost("The edge has not been heard of for too long"));
    life = watch(
      environment,
      timers,
      { intervalMs: connected.heartbeatIntervalMs, answerWithinMs: ANSWER_WITHIN_MS },
      ping,
      dead,
    );
    wiring.opened(sessionOf(connected));
    if (isOver) return;
    send(subscriptions.follow(wanted));
    pingOnAndOn();
    settle();
  }

  function pingOnAndOn(): void {
    ping();
    timers.after(PING_EVERY_MS, pingOnAndOn);
  }

  function ping(): void {
    pinged += 1;
    const nonce = `p${pinged}`;
    pings.set(nonce, environment.now());
    const oldest = pings.keys().next();
    if (pings.size > MOST_PINGS && !oldest.done) pings.delete(oldest.value);
    send([{ type: "ping", nonce }]);
  }

  function beat({ nonce, serverTime }: Heartbeat): void {
    if (nonce === undefined || nonce === null) return;
    const sentAt = pings.get(nonce);
    if (sentAt !== undefined) {
      pings.delete(nonce);
      wiring.measured({ sentAt, receivedAt: environment.now(), serverTime });
    } else if (subscriptions.answered(nonce)) {
      settle();
    }
  }

  function settle(): void {
    if (!isReady && subscriptions.isSettled) {
      isReady = true;
      wiring.ready();
    }
  }

  function refuse(error: WireError): void {
    if (typeof error.requestId === "string") {
      deliver(error);
    } else if (error.code === "rate-limited") {
      askAgain();
    } else if (REFUSALS.has(error.code)) {
      const channels = subscriptions.refused();
      if (channels.length > 0) wiring.complained(`The edge refuses ${channels.join(", ")}: ${error.message}`);
      if (subscriptions.hasSuspects) retrySoon();
      settle();
    } else {
      wiring.complained(`The edge says: ${error.message}`);
    }
  }

  /** What was not read may have been a subscription. */
  function askAgain(): void {
    if (isRetrying) return;
    isRetrying = true;
    wiring.complained("The edge has had too many messages at once");
    timers.after(RATE_LIMITED_MS, () => {
      isRetrying = false;
      subscriptions.forgetAll();
      send(subscriptions.follow(wanted));
    });
  }

  function retrySoon(): void {
    if (isRetrying) return;
    isRetrying = true;
    timers.after(subscriptions.pauseMs, () => {
      isRetrying = false;
      const messages = subscriptions.retry();
      if (messages === null) return;
      send(messages);
      if (subscriptions.hasSuspects) retrySoon();
    });
  }

  begin();
  return {
    transport: "websocket",
    follow(channels) {
      wanted = channels;
      if (isOpen) send(subscriptions.follow(wanted));
    },
    send(action) {
      if (!isOpen || socket?.readyState !== 1) return false;
      send([action]);
      return true;
    },
    check: () => life?.check(),
    close: stop,
  };
}
