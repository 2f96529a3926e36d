/** From a choice to orders: what is sent, in which portions, and the acks back into the store. */

import type { ActionHandle, Expectation, FleetClient } from "@fleetcast/client";
import type { Verb } from "../lib/verbs.ts";
import { type ActionStore, actionStore, type Tracked } from "./store.ts";
import type { Chosen } from "./verb.ts";

/** What one message may name (docs/PROTOCOL.md). */
export const MAX_TARGETS = 100;
/** What may be chosen at once; more is refused before anything is asked. */
export const MAX_CHOSEN = 500;
/** An edge takes 20 actions a second of one client. */
const PORTION_EVERY_MS = (MAX_TARGETS / 20) * 1000 + 200;
/** Successes have been read by then; what is not a success waits for a hand. */
const SHOWN_MS = 6000;
const EXPIRES_S = 30;
/** An executor does eight at a time, and a stop may take its ten seconds of grace. */
const EXTRA_S_PER_CONTAINER = 2;
const MAX_EXPIRES_S = 600;

type Doer = Pick<FleetClient, "act" | "actOnAll" | "now">;

/** The container as it was on the screen: the action happens only while this is so. */
export function expectationOf({ container }: Chosen): Expectation {
  const { id, state, startedAt } = container;
  return startedAt === null ? { id, state } : { id, state, startedAt };
}

/** How long many on one host may wait for their turn. */
export function expiresInSec(chosen: readonly Chosen[]): number {
  const perHost = new Map<string, number>();
  for (const { host } of chosen) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const most = Math.max(1, ...perHost.values());
  return Math.min(MAX_EXPIRES_S, EXPIRES_S + EXTRA_S_PER_CONTAINER * (most - 1));
}

export function portions<T>(all: readonly T[], size = MAX_TARGETS): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}

/**
 * Sends it, in portions where there are many, without those that the same is already being done to. What becomes of
 * each is in the store.
 */
export function submit(client: Doer, verb: Verb, all: readonly Chosen[], store: ActionStore = actionStore): void {
  const chosen = all.slice(0, MAX_CHOSEN).filter(({ host, container }) => !store.underWay(host, container.id, verb));
  const [first] = chosen;
  if (first === undefined) return;
  if (chosen.length === 1) {
    const requestId = newRequestId();
    const [action] = track([first], { requestId, bulk: null, verb, stage: "sent", at: client.now() });
    if (action === undefined) return;
    store.add([action]);
    const { host, container } = first;
    const expect = expectationOf(first);
    follow(client, store, action.key, client.act({ host, containerId: container.id, action: verb, expect, requestId }));
    return;
  }
  const bulk = newRequestId();
  const expires = expiresInSec(chosen);
  const parts = portions(chosen).map((targets) => ({ targets, requestId: newRequestId() }));
  const at = client.now();
  store.add(parts.flatMap(({ targets, requestId }) => track(targets, { requestId, bulk, verb, stage: "queued", at })));
  parts.forEach(({ targets, requestId }, index) => {
    const send = () => {
      const handles = client.actOnAll({
        action: verb,
        requestId,
        expiresInSec: expires,
        targets: targets.map((one) => ({ host: one.host, containerId: one.container.id, expect: expectationOf(one) })),
      });
      handles.forEach((handle, target) => {
        const key = keyOf(requestId, target, bulk);
        store.progress(key, { stage: "sent", at: client.now() });
        follow(client, store, key, handle);
      });
    };
    if (index === 0) send();
    else setTimeout(send, index * PORTION_EVERY_MS);
  });
}

type Common = Pick<Tracked, "requestId" | "bulk" | "verb" | "stage" | "at">;

function track(chosen: readonly Chosen[], common: Common): readonly Tracked[] {
  return chosen.map(({ host, container }, index) => ({
    ...common,
    key: keyOf(common.requestId, index, common.bulk),
    target: common.bulk === null ? null : index,
    host,
    containerId: container.id,
    name: container.name,
    error: null,
    code: null,
    durationMs: null,
    noop: false,
    dismissed: false,
  }));
}

function keyOf(requestId: string, target: number, bulk: string | null): string {
  return bulk === null ? requestId : `${requestId}#${target}`;
}

function follow(client: Doer, store: ActionStore, key: string, handle: ActionHandle): void {
  const off = handle.onAck((ack) => {
    if (ack.status === "accepted" || ack.status === "running") store.progress(key, { stage: ack.status, at: ack.at });
  });
  // It never rejects, and settles once: that is the core's promise.
  void handle.outcome.then(({ status, error, code, durationMs, noop, ack }) => {
    off();
    store.progress(key, { stage: status, at: ack?.at ?? client.now(), error, code, durationMs, noop });
    if (status === "succeeded") setTimeout(() => store.dismiss([key]), SHOWN_MS);
  });
}

/** `crypto.randomUUID` is there only for pages of https and localhost. */
function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
