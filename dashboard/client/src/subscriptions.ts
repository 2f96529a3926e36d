/**
 * What is subscribed on one WebSocket. Pure: the messages to send come out, what the edge says goes in.
 *
 * An edge does not confirm a subscription, and refuses all of a message for one host that may not be seen. So a ping
 * follows each message: its answer comes after the refusal, if there is one. What was refused together is then tried
 * host by host, slowly enough that the edge does not take it for an attack.
 */

import { chunks, groupedByHost, MOST_IN_A_MESSAGE } from "./channels.ts";
import type { Channel } from "./types.ts";
import type { ClientMessage } from "./wire.ts";

/** Refusals that an edge takes quickly one after the other; the 20th in a minute would close the connection. */
const QUICK_REFUSALS = 8;
const PAUSE_MS = 200;
const LONG_PAUSE_MS = 10_000;

export interface Subscriptions {
  /** What to send, in order, so that these are subscribed, but for those that were refused. */
  follow(wanted: readonly Channel[]): readonly ClientMessage[];
  /** A heartbeat with a nonce of ours: what was asked for before it has been done. */
  answered(nonce: string): boolean;
  /** An error that names no action: those of the oldest message that is not answered yet. Empty where there is none. */
  refused(): readonly Channel[];
  /** Something was not read: ask for all of it again. */
  forgetAll(): void;
  /** What has to be tried alone; null where nothing waits. */
  retry(): readonly ClientMessage[] | null;
  readonly pauseMs: number;
  readonly hasSuspects: boolean;
  readonly isSettled: boolean;
}

/** `banned`: channels that were refused alone; shared by the connections of one user. */
export function createSubscriptions(banned: Set<Channel>): Subscriptions {
  const sent = new Set<Channel>();
  const asked = new Map<string, readonly Channel[]>();
  let wanted: readonly Channel[] = [];
  let suspects: (readonly Channel[])[] = [];
  let refusals = 0;
  let count = 0;

  function subscribe(channels: readonly Channel[]): readonly ClientMessage[] {
    const [first, ...others] = channels;
    if (first === undefined) return [];
    count += 1;
    const nonce = `s${count}`;
    asked.set(nonce, channels);
    for (const channel of channels) sent.add(channel);
    return [
      { type: "subscribe", channels: [first, ...others] },
      { type: "ping", nonce },
    ];
  }

  function unsubscribe(channels: readonly Channel[]): readonly ClientMessage[] {
    const [first, ...others] = channels;
    if (first === undefined) return [];
    for (const channel of channels) sent.delete(channel);
    return [{ type: "unsubscribe", channels: [first, ...others] }];
  }

  return {
    follow(channels) {
      wanted = channels;
      const isWanted = new Set(channels);
      suspects = suspects.map((group) => group.filter((one) => isWanted.has(one))).filter((group) => group.length > 0);
      const alone = new Set(suspects.flat());
      const added = channels.filter((one) => !sent.has(one) && !banned.has(one) && !alone.has(one));
      const gone = [...sent].filter((one) => !isWanted.has(one));
      return [
        ...chunks(added, MOST_IN_A_MESSAGE).flatMap(subscribe),
        ...chunks(gone, MOST_IN_A_MESSAGE).flatMap(unsubscribe),
      ];
    },
    answered: (nonce) => asked.delete(nonce),
    refused() {
      const oldest = asked.entries().next().value;
      if (oldest === undefined) return [];
      const [nonce, channels] = oldest;
      asked.delete(nonce);
      refusals += 1;
      for (const channel of channels) sent.delete(channel);
      const groups = groupedByHost(channels);
      if (groups.length > 1) {
        suspects.push(...groups);
        return [];
      }
      for (const channel of channels) banned.add(channel);
      return channels;
    },
    forgetAll() {
      sent.clear();
      asked.clear();
      suspects = [];
    },
    retry() {
      const group = suspects.shift();
      if (group === undefined) return null;
      const isWanted = new Set(wanted);
      return subscribe(group.filter((channel) => isWanted.has(channel)));
    },
    get pauseMs() {
      return refusals < QUICK_REFUSALS ? PAUSE_MS : LONG_PAUSE_MS;
    },
    get hasSuspects() {
      return suspects.length > 0;
    },
    get isSettled() {
      return asked.size === 0;
    },
  };
}
