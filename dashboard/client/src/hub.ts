/** Who has subscribed to what, and who gets which message. */

import { checkChannel, hostOf, kindOf, needed } from "./channels.ts";
import { guarded } from "./environment.ts";
import { createSieve } from "./events.ts";
import { createStates } from "./states.ts";
import type { Timers } from "./timers.ts";
import type { Channel, ChannelKind, MessageOf, StateMessage, Unsubscribe } from "./types.ts";
import type { EventMessage, HostsMessage } from "./wire.ts";

/** An edge reads 20 messages of a client a second: so often the set of channels may change. */
const CHANGES_EVERY_MS = 150;

const COUNT_EVERY_MS = 1_000;

type Message = StateMessage | EventMessage | HostsMessage;

interface Subscriber {
  readonly channel: Channel;
  readonly handler: (message: Message) => void;
}

export interface Hub {
  subscribe<C extends Channel>(channel: C, handler: (message: MessageOf<C>) => void): Unsubscribe;
  /** `counts`: of the connection in use, where gaps are states that were left out. */
  take(message: Message, counts: boolean): void;
  /** Notes events as known without handing them out. */
  passOver(events: readonly EventMessage[]): void;
  /** What to subscribe to. */
  wanted(): readonly Channel[];
  /** Another stream begins. */
  rebase(): void;
  /** Hosts of the last roster; null before the first. */
  roster(): readonly string[] | null;
  close(): void;
}

export interface HubWiring {
  /** `wanted` is another set. */
  wantedChanged(): void;
  /** So many states were left out in the last ten seconds. */
  skippedChanged(skipped: number): void;
}

/** `now`: on Redis' clock. */
export function createHub(timers: Timers, now: () => number, wiring: HubWiring): Hub {
  const subscribers = new Map<Channel, Set<Subscriber>>();
  const states = createStates();
  const sieve = createSieve();
  let roster: HostsMessage | null = null;
  let wanted: readonly Channel[] = [];
  let isDue = false;
  let isPausing = false;
  let isCounting = false;
  let isClosed = false;

  /** With the microtask that follows, so that a page that mounts is one change; the next one after a pause. */
  function soon(): void {
    if (isDue) return;
    isDue = true;
    if (!isPausing) queueMicrotask(change);
  }

  function change(): void {
    isDue = false;
    if (isClosed) return;
    // What nobody wants is forgotten together with its subscription: a state that stays behind would be handed out old.
    states.prune((kind, host) => subscribers.has(kind) || subscribers.has(`${kind}:${host}`));
    if (!subscribers.has("hosts")) roster = null;
    const before = new Set(wanted);
    wanted = needed(subscribers.keys());
    if (wanted.length === before.size && wanted.every((channel) => before.has(channel))) return;
    isPausing = true;
    timers.after(CHANGES_EVERY_MS, () => {
      isPausing = false;
      if (isDue) change();
    });
    wiring.wantedChanged();
  }

  /** Now, and on until they are forgotten. */
  function countSkipped(): void {
    const skipped = states.skipped(now());
    wiring.skippedChanged(skipped);
    if (skipped === 0 || isCounting) return;
    isCounting = true;
    timers.after(COUNT_EVERY_MS, () => {
      isCounting = false;
      countSkipped();
    });
  }

  function known(channel: Channel): readonly Message[] {
    const kind = kindOf(channel);
    if (kind === "events") return [];
    if (kind === "hosts") return roster === null ? [] : [roster];
    return states.of(kind, hostOf(channel));
  }

  function handOut(kind: ChannelKind, host: string | null, message: Message): void {
    for (const channel of host === null ? [kind] : [kind, `${kind}:${host}` as Channel]) {
      for (const subscriber of [...(subscribers.get(channel) ?? [])]) {
        if (subscribers.get(channel)?.has(subscriber)) guarded(subscriber.handler, message);
      }
    }
  }

  return {
    subscribe(channel, handler) {
      const name = checkChannel(channel);
      const subscriber: Subscriber = { channel: name, handler: handler as (message: Message) => void };
      const others = subscribers.get(name) ?? new Set();
      subscribers.set(name, others.add(subscriber));
      soon();
      queueMicrotask(() => {
        for (const message of known(name)) {
          if (others.has(subscriber)) guarded(subscriber.handler, message);
        }
      });
      return () => {
        if (others.delete(subscriber) && others.size === 0 && subscribers.get(name) === others) {
          subscribers.delete(name);
          soon();
        }
      };
    },
    take(message, counts) {
      switch (message.type) {
        case "hosts":
          roster = message;
          handOut("hosts", null, message);
          break;
        case "event":
          if (sieve.isNew(message)) handOut("events", message.host, message);
          break;
        default:
          if (!states.take(message, now(), counts)) return;
          countSkipped();
          handOut(message.type, message.host, message);
      }
    },
    passOver(events) {
      for (const event of events) sieve.isNew(event);
    },
    wanted: () => wanted,
    rebase: () => states.rebase(),
    roster: () => roster?.hosts.map((status) => status.host) ?? null,
    close() {
      isClosed = true;
      subscribers.clear();
    },
  };
}
