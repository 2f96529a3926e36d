/** Requests to the edge, with the token, in limited time. */

import { parseRetryAfter } from "./closing.ts";
import { FleetcastError } from "./errors.ts";
import { isRecord } from "./parse.ts";
import type { Timers } from "./timers.ts";
import type { TokenKeeper } from "./token.ts";
import type { Environment } from "./types.ts";

const ANSWER_WITHIN_MS = 20_000;

export interface Http {
  /** The JSON of a good answer. Throws FleetcastError. */
  json(path: string, init?: RequestInit): Promise<unknown>;
  /** A good answer whose body may go on for ever; only until its head there is a time limit. Throws FleetcastError. */
  open(path: string, signal: AbortSignal): Promise<Response>;
  /** `wss://fleet.example.com/api/ws` */
  socketUrl(): string;
  close(): void;
}

/** `base` is an origin, or begins with it. Throws FleetcastError where it is none. */
export function createHttp(
  base: string | undefined,
  environment: Environment,
  timers: Timers,
  tokens: TokenKeeper,
): Http {
  const origin = originOf(base);
  const closing = new AbortController();

  async function request(path: string, init: RequestInit, token: string | null): Promise<Response> {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("Authorization", `Bearer ${token}`);
    const url = urlOf(origin, path);
    let answer: Response;
    try {
      answer = await environment.fetch(url, { ...init, headers, cache: "no-store", redirect: "error" });
    } catch (error) {
      if (init.signal?.aborted) throw ended(init.signal);
      throw new FleetcastError("the edge could not be reached", null, null, null, { cause: error });
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  /** A token that the edge does not take is renewed once. */
  async function send(path: string, init: RequestInit): Promise<Response> {
    const token = await asked(tokens.get(), init.signal);
    try {
      return await request(path, init, token);
    } catch (error) {
      if (!(error instanceof FleetcastError) || error.status !== 401 || token === null) throw error;
      const renewed = await asked(tokens.renew(), init.signal);
      if (renewed === token) throw error;
      return request(path, init, renewed);
    }
  }

  function limited(signal: AbortSignal | null | undefined): {
    readonly signal: AbortSignal;
    readonly done: () => void;
  } {
    const limit = new AbortController();
    const cancel = timers.after(ANSWER_WITHIN_MS, () => {
      limit.abort(new FleetcastError("the edge did not answer in time", null, null));
    });
    return { signal: AbortSignal.any([limit.signal, closing.signal, ...(signal ? [signal] : [])]), done: cancel };
  }

  return {
    async json(path, init = {}) {
      const { signal, done } = limited(init.signal);
      try {
        const answer = await send(path, { ...init, signal });
        return await bodyOf(answer, signal);
      } finally {
        done();
      }
    },
    async open(path, signal) {
      const { signal: any, done } = limited(signal);
      try {
        return await send(path, { signal: any, headers: { Accept: "text/event-stream" } });
      } finally {
        done();
      }
    },
    socketUrl() {
      const url = new URL("/api/ws", origin);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      return url.href;
    },
    close() {
      closing.abort(new FleetcastError("this client is closed", null, null));
    },
  };
}

function originOf(base: string | undefined): string {
  const url = base ?? globalThis.location?.origin;
  if (url === undefined || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new FleetcastError(
      `url: ${url ?? "there is no page to take it from"}: give https://fleet.example.com`,
      null,
      null,
    );
  }
  return new URL(url).origin;
}

/** The token goes to the edge alone. */
function urlOf(origin: string, path: string): string {
  const url = new URL(path, origin);
  if (!path.startsWith("/") || url.origin !== origin)
    throw new FleetcastError(`no path of the edge: ${path}`, null, null);
  return url.href;
}

async function asked(answer: Promise<string | null>, signal: AbortSignal | null | undefined): Promise<string | null> {
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(ended(signal)), { once: true });
    answer.then(resolve, (error: unknown) => {
      reject(new FleetcastError("no token could be had", null, null, null, { cause: error }));
    });
  });
}

async function bodyOf(answer: Response, signal: AbortSignal): Promise<unknown> {
  try {
    return await answer.json();
  } catch (error) {
    if (signal.aborted) throw ended(signal);
    throw new FleetcastError("the edge's answer is no JSON", answer.status, null, null, { cause: error });
  }
}

/** An error of the edge has its own words; whatever stands between says HTTP's. */
async function refusal(answer: Response): Promise<FleetcastError> {
  const retryAfterMs = parseRetryAfter(answer.headers.get("Retry-After"));
  let said: unknown = null;
  try {
    said = JSON.parse((await answer.text()).slice(0, 10_000));
  } catch {
    // a proxy's page, or the edge's plain words
  }
  const code = isRecord(said) && typeof said["code"] === "string" ? said["code"] : null;
  const message = isRecord(said) && typeof said["message"] === "string" ? said["message"] : answer.statusText;
  return new FleetcastError(message || `HTTP ${answer.status}`, answer.status, code, retryAfterMs);
}

function ended(signal: AbortSignal): FleetcastError {
  const reason: unknown = signal.reason;
  return reason instanceof FleetcastError
    ? reason
    : new FleetcastError("given up", null, null, null, { cause: reason });
}
