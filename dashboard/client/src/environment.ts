/** What the core takes from outside, as a browser or Node has it. */

import type { Environment, Unsubscribe } from "./types.ts";

/** Looked up at each call, so that whoever replaces a global is heard. */
export function defaultEnvironment(): Environment {
  return {
    WebSocket: globalThis.WebSocket,
    fetch: (input, init) => globalThis.fetch(input, init),
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer as number),
    now: () => Date.now(),
    random: () => Math.random(),
    onWake,
  };
}

function onWake(run: () => void): Unsubscribe {
  if (typeof globalThis.addEventListener !== "function") return () => undefined;
  const onVisible = (): void => {
    if (globalThis.document?.visibilityState === "visible") run();
  };
  globalThis.addEventListener("online", run);
  globalThis.document?.addEventListener("visibilitychange", onVisible);
  return () => {
    globalThis.removeEventListener("online", run);
    globalThis.document?.removeEventListener("visibilitychange", onVisible);
  };
}

/** Calls one of several who want to know: what it throws is reported, and the others are called all the same. */
export function guarded<T>(handler: (value: T) => void, value: T): void {
  try {
    handler(value);
  } catch (error) {
    report(error);
  }
}

/** To where uncaught errors go. */
export function report(error: unknown): void {
  if (typeof globalThis.reportError === "function") {
    globalThis.reportError(error);
    return;
  }
  queueMicrotask(() => {
    throw error;
  });
}

/** An id that nobody else has. `crypto.randomUUID` is not there on plain-http pages; `getRandomValues` is. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
