/** The actions that are open: given to an edge by whatever way there is, until each has its one outcome. */

import { DEFAULT_BACKOFF, delayAfter } from "./backoff.ts";
import { guarded, newId } from "./environment.ts";
import { FleetcastError } from "./errors.ts";
import { createGate } from "./gate.ts";
import type { Http } from "./http.ts";
import { checkMessage, isRecord } from "./parse.ts";
import { ackOf, afterRefusal, isFinal, isLater, nextMove, outcomeOf, outcomeWithout, type Way } from "./stages.ts";
import type { Timers } from "./timers.ts";
import type { ActionHandle, ActionRequest, BulkRequest, Environment, Outcome } from "./types.ts";
import type { ActionRecord, ContainerAck, ContainerAction, Expectation, Error as WireError } from "./wire.ts";

const MOST_OPEN = 1_000;
const MOST_TARGETS = 100;
/** An edge reads 64 KiB. */
const MOST_CHARS = 60_000;
const REQUESTS_AT_A_TIME = 4;
const NO_CONNECTION = -1;
const REQUEST_ID = /^[!-~]{1,128}$/;

export interface ActionDesk {
  act(request: ActionRequest): ActionHandle;
  actOnAll(request: BulkRequest): readonly ActionHandle[];
  take(message: ContainerAck | WireError): void;
  /** There is another way to an edge now, or none. */
  wayChanged(): void;
  close(): void;
}

export interface DeskWiring {
  readonly environment: Environment;
  readonly timers: Timers;
  readonly http: Http;
  way(): Way;
  /** The number of the connection in use. */
  over(): number;
  /** False where it did not go out. */
  send(action: ContainerAction): boolean;
  /** The hosts there are, where they are known. */
  roster(): readonly string[] | null;
}

/** One target of a message. */
interface Slot {
  readonly index: number | null;
  readonly host: string | null;
  readonly containerId: string;
  readonly expect: Expectation | null;
  readonly handlers: Set<(ack: ContainerAck) => void>;
  readonly settle: (outcome: Outcome) => void;
  ack: ContainerAck | null;
  isOpen: boolean;
  isBusy: boolean;
  sent: { readonly at: number; readonly over: number } | null;
  sends: number;
  lookedAt: number;
  notBefore: number;
}

/** One message. */
interface Task {
  readonly request: Omit<ContainerAction, "expiresInSec">;
  readonly expiresInSec: number;
  readonly askedAt: number;
  readonly slots: readonly Slot[];
  readonly handles: readonly ActionHandle[];
  /** Once one of several has gone by HTTP, where each is a request of its own, all of them stay there. */
  isPosted: boolean;
  cancel: () => void;
}

export function createActionDesk(wiring: DeskWiring): ActionDesk {
  const { environment, timers, http } = wiring;
  const gate = createGate(REQUESTS_AT_A_TIME);
  const tasks = new Map<string, Task>();
  let isClosed = false;

  function begin(request: Task["request"], expiresInSec: number, targets: readonly Target[]): readonly ActionHandle[] {
    const known = tasks.get(request.requestId);
    if (known !== undefined) return known.handles;
    const made = targets.map((target, i) => createSlot(request.requestId, request.targets ? i : null, target));
    const task: Task = {
      request,
      expiresInSec,
      askedAt: environment.now(),
      slots: made.map(({ slot }) => slot),
      handles: made.map(({ handle }) => handle),
      isPosted: false,
      cancel: () => undefined,
    };
    const refused = whyRefused(task);
    if (refused === null) {
      tasks.set(request.requestId, task);
      advance(task);
    } else {
      for (const slot of task.slots) settle(task, slot, refused);
    }
    return task.handles;
  }

  function whyRefused({ request, slots }: Task): Outcome | null {
    const open = [...tasks.values()].reduce((sum, task) => sum + task.slots.length, 0);
    if (isClosed) return outcomeWithout("rejected", "this client is closed", null, null);
    if (open + slots.length > MOST_OPEN) return refusal("rate-limited", `${open} actions are open already`);
    if (slots.length > MOST_TARGETS) return refusal("too-large", `at most ${MOST_TARGETS} targets at once`);
    if (JSON.stringify(request).length > MOST_CHARS) return refusal("too-large", "the request is too large");
    return REQUEST_ID.test(request.requestId) ? null : refusal("invalid-message", "requestId: 1 to 128 characters");
  }

  function advance(task: Task): void {
    task.cancel();
    const now = environment.now();
    let lookAt = Infinity;
    const open = task.slots.filter((slot) => slot.isOpen);
    const areAllKnown = open.every((slot) => slot.ack !== null);
    const way = task.isPosted && wiring.way() === "socket" ? "http" : wiring.way();
    for (const slot of open) {
      if (slot.isBusy || !slot.isOpen) continue;
      const standing = {
        askedAt: task.askedAt,
        expiresInSec: task.expiresInSec,
        timeoutSec: task.request.timeoutSec ?? null,
        sent: slot.sent,
        lookedAt: slot.lookedAt,
        isKnown: slot.ack !== null,
        areAllKnown,
        mayPost: slot.index === null || task.isPosted || slot.sent === null,
        notBefore: slot.notBefore,
      };
      const move = nextMove(standing, way, wiring.over(), now);
      switch (move.do) {
        case "wait":
          lookAt = Math.min(lookAt, move.until);
          break;
        case "send":
          send(task, move.expiresInSec);
          lookAt = Math.min(lookAt, now + 1_000);
          break;
        case "submit":
          task.isPosted ||= slot.index !== null;
          note(slot);
          void busy(task, slot, () => submit(task, slot, move.expiresInSec));
          break;
        case "look":
          void busy(task, slot, () => look(task, slot, null, false));
          break;
        case "expire":
          settle(task, slot, outcomeWithout("expired", "it did not get to an edge before its deadline", null, null));
          break;
        case "give-up":
          void busy(task, slot, () => giveUp(task, slot));
      }
    }
    if (lookAt < Infinity && tasks.has(task.request.requestId)) {
      task.cancel = timers.after(lookAt - environment.now(), () => advance(task));
    }
  }

  /** The message, with all of its targets: what is settled already stays so. */
  function send(task: Task, expiresInSec: number): void {
    if (!wiring.send({ ...task.request, expiresInSec })) return;
    for (const slot of task.slots) note(slot);
  }

  function note(slot: Slot): void {
    slot.sent = { at: environment.now(), over: wiring.over() };
    slot.sends += 1;
  }

  /** One request for a slot at a time; what it comes to is done when it is over. */
  async function busy(task: Task, slot: Slot, work: () => Promise<() => void>): Promise<void> {
    slot.isBusy = true;
    const conclude = await gate(work);
    slot.isBusy = false;
    if (isClosed) return;
    conclude();
    if (slot.isOpen) advance(task);
  }

  async function submit(task: Task, slot: Slot, expiresInSec: number): Promise<() => void> {
    try {
      const host = await hostOf(slot);
      const { action, timeoutSec } = task.request;
      const body = {
        requestId: keyOf(task, slot),
        action,
        expiresInSec,
        ...(timeoutSec === undefined ? {} : { timeoutSec }),
        ...(slot.expect === null ? {} : { expect: slot.expect }),
      };
      const path = `/api/hosts/${encodeURIComponent(host)}/containers/${encodeURIComponent(slot.containerId)}/actions`;
      const headers = { "Content-Type": "application/json" };
      const record = await http.json(path, { method: "POST", headers, body: JSON.stringify(body) });
      return () => heard(task, slot, record);
    } catch (error) {
      const code = error instanceof FleetcastError ? codeOf(error) : "unavailable";
      return () => refuse(task, slot, code, error instanceof Error ? error.message : String(error));
    }
  }

  /** `otherwise`: what to settle with where nothing is known of it, or `always` where that is not its end either. */
  async function look(task: Task, slot: Slot, otherwise: Outcome | null, always: boolean): Promise<() => void> {
    slot.lookedAt = environment.now();
    const or = (): void => {
      if (otherwise !== null) settle(task, slot, otherwise);
    };
    try {
      const host = slot.ack?.host ?? (await hostOf(slot));
      const target = slot.index === null || task.isPosted ? "" : `?target=${slot.index}`;
      const path = `/api/actions/${encodeURIComponent(host)}/${encodeURIComponent(keyOf(task, slot))}${target}`;
      const record = await http.json(path);
      return () => {
        heard(task, slot, record);
        if (always) or();
      };
    } catch (error) {
      const isUnknown = error instanceof FleetcastError && error.status === 404;
      return always || isUnknown ? or : () => undefined; // the edge is away: it is asked again
    }
  }

  function giveUp(task: Task, slot: Slot): Promise<() => void> {
    const error = "no word of its end came until long after its deadline: whether it was done is not known";
    return look(task, slot, outcomeWithout("unknown", error, null, slot.ack), true);
  }

  function refuse(task: Task, slot: Slot, code: WireError["code"], message: string): void {
    if (!slot.isOpen) return;
    const outcome = refusal(code, message, slot.ack);
    switch (afterRefusal(code, slot.sends > 1 || slot.ack !== null)) {
      case "settle":
        settle(task, slot, outcome);
        break;
      case "look":
        if (!slot.isBusy) void busy(task, slot, () => look(task, slot, outcome, false));
        break;
      case "again":
        slot.notBefore = environment.now() + delayAfter(slot.sends + 1, DEFAULT_BACKOFF, environment.random());
        if (slot.sent !== null) slot.sent = { ...slot.sent, over: NO_CONNECTION };
        advance(task);
    }
  }

  function heard(task: Task, slot: Slot, record: unknown): void {
    const ack = isRecord(record)
      ? checkMessage(ackOf(record as unknown as ActionRecord, task.request.requestId, slot.index))
      : "malformed";
    if (typeof ack !== "string" && ack.type === "container-ack") tell(task, slot, ack);
  }

  function tell(task: Task, slot: Slot, ack: ContainerAck): void {
    if (!slot.isOpen || !isLater(ack, slot.ack)) return;
    slot.ack = ack;
    for (const handler of [...slot.handlers]) guarded(handler, ack);
    if (isFinal(ack.status)) settle(task, slot, outcomeOf(ack, ack.status));
  }

  function settle(task: Task, slot: Slot, outcome: Outcome): void {
    if (!slot.isOpen) return;
    slot.isOpen = false;
    slot.handlers.clear();
    slot.settle(outcome);
    if (task.slots.some((other) => other.isOpen)) return;
    task.cancel();
    if (tasks.get(task.request.requestId) === task) tasks.delete(task.request.requestId);
  }

  /** Throws FleetcastError. */
  async function hostOf(slot: Slot): Promise<string> {
    if (slot.host !== null) return slot.host;
    let hosts = wiring.roster();
    if (hosts === null) {
      const message = checkMessage(await http.json("/api/hosts"));
      hosts = typeof message !== "string" && message.type === "hosts" ? message.hosts.map((status) => status.host) : [];
    }
    const [only] = hosts;
    if (only !== undefined && hosts.length === 1) return only;
    throw new FleetcastError(`host: name one, the fleet has ${hosts.length}`, 404, "unknown-host");
  }

  return {
    act(asked) {
      const { requestId = newId(), expiresInSec = 30, expect, ...rest } = asked;
      const request: Task["request"] = { type: "container-action", requestId, ...rest, ...(expect ? { expect } : {}) };
      const [handle] = begin(request, expiresInSec, [asked]);
      if (handle === undefined) throw new Error("an action without a handle");
      return handle;
    },
    actOnAll(asked) {
      const { requestId = newId(), expiresInSec = 30, targets, ...rest } = asked;
      const [first, ...others] = targets;
      if (first === undefined) return [];
      const request: Task["request"] = { type: "container-action", requestId, ...rest, targets: [first, ...others] };
      return begin(request, expiresInSec, targets);
    },
    take(message) {
      const task = typeof message.requestId === "string" ? tasks.get(message.requestId) : undefined;
      if (task === undefined) return;
      const index = message.target ?? null;
      const meant = task.slots.filter((slot) => slot.isOpen && (slot.index === index || isOfAll(message)));
      for (const slot of meant) {
        if (message.type === "container-ack") tell(task, slot, message);
        else refuse(task, slot, message.code, message.message);
      }
    },
    wayChanged() {
      for (const task of [...tasks.values()]) advance(task);
    },
    close() {
      isClosed = true;
      for (const task of [...tasks.values()]) {
        for (const slot of task.slots) {
          const outcome = slot.sent
            ? outcomeWithout("unknown", "this client was closed before it heard of its end", null, slot.ack)
            : outcomeWithout("rejected", "this client was closed before it was sent", null, null);
          settle(task, slot, outcome);
        }
      }
    },
  };
}

interface Target {
  readonly host?: string | null;
  readonly containerId: string;
  readonly expect?: Expectation | null;
}

function createSlot(requestId: string, index: number | null, target: Target): { slot: Slot; handle: ActionHandle } {
  let settle: (outcome: Outcome) => void = () => undefined;
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  const slot: Slot = {
    index,
    host: target.host ?? null,
    containerId: target.containerId,
    expect: target.expect ?? null,
    handlers: new Set(),
    settle,
    ack: null,
    isOpen: true,
    isBusy: false,
    sent: null,
    sends: 0,
    lookedAt: 0,
    notBefore: 0,
  };
  const handle: ActionHandle = {
    requestId,
    target: index,
    get ack() {
      return slot.ack;
    },
    onAck(handler) {
      const own = (ack: ContainerAck): void => handler(ack);
      if (slot.isOpen) slot.handlers.add(own);
      return () => slot.handlers.delete(own);
    },
    outcome,
  };
  return { slot, handle };
}

/** Over HTTP each target is a request of its own. */
function keyOf(task: Task, slot: Slot): string {
  const { requestId } = task.request;
  return slot.index !== null && task.isPosted ? `${requestId.slice(0, 120)}.${slot.index}` : requestId;
}

function isOfAll(message: ContainerAck | WireError): boolean {
  return message.type === "error" && (message.target === undefined || message.target === null);
}

function refusal(code: WireError["code"], message: string, ack: ContainerAck | null = null): Outcome {
  return outcomeWithout("rejected", message, code, ack);
}

/** What an answer without the edge's own word comes to. */
function codeOf(error: FleetcastError): WireError["code"] {
  if (error.code !== null) return error.code as WireError["code"];
  if (error.status === 401) return "unauthenticated";
  if (error.status === 403) return "forbidden";
  return error.status === 429 ? "rate-limited" : "unavailable";
}
