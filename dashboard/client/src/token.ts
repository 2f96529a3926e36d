/** Sign-in tokens: when one runs out, and who keeps the one in use. */

import type { Session } from "./types.ts";

interface Claims {
  readonly exp?: unknown;
  readonly sub?: unknown;
  readonly role?: unknown;
}

/** It is renewed so long before it runs out, or at the last fifth of its time where that is later. */
const RENEW_BEFORE_MS = 60_000;

/** When a token runs out, ms since the epoch; null where it does not say. */
export function expiryOf(token: string | null): number | null {
  const exp = claimsOf(token)?.exp;
  return typeof exp === "number" && Number.isFinite(exp) ? exp * 1000 : null;
}

/** When a token that is had since `since` is to be renewed; null where never. Both on the edge's clock. */
export function renewAt(expiresAt: number | null, since: number): number | null {
  if (expiresAt === null) return null;
  return expiresAt - Math.min(RENEW_BEFORE_MS, Math.max(0, expiresAt - since) / 5);
}

/** Whose token it is, as it says itself; who has none is the one user of an edge without sign-in. */
export function bearerOf(token: string | null): Pick<Session, "user" | "role"> {
  const claims = claimsOf(token);
  const role = claims?.role;
  if (token === null) return { user: "local", role: "admin" };
  return {
    user: typeof claims?.sub === "string" ? claims.sub : "",
    role: role === "operator" || role === "admin" ? role : "viewer",
  };
}

function claimsOf(token: string | null): Claims | null {
  const payload = token?.split(".")[1];
  if (payload === undefined) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" ? claims : null;
  } catch {
    return null; // no JWT: it is the edge that judges it
  }
}

export interface TokenKeeper {
  /** The token in use; a new one where there is none or it is to be renewed. Rejects where asking fails. */
  get(): Promise<string | null>;
  /** A new one, asked for now. */
  renew(): Promise<string | null>;
  /** When the one in use is to be renewed, on the edge's clock; null where never. */
  dueAt(): number | null;
}

/** Who never answers is asked again. */
const ANSWER_WITHIN_MS = 10_000;

/** `now` is the time on the edge's clock. Who asks while it is being asked for gets the same answer. */
export function createTokenKeeper(
  ask: (() => string | null | Promise<string | null>) | undefined,
  now: () => number,
): TokenKeeper {
  let token: string | null | undefined;
  let due: number | null = null;
  let asking: { readonly since: number; readonly answer: Promise<string | null> } | null = null;

  async function asked(): Promise<string | null> {
    const answer = ask === undefined ? null : await ask();
    if (answer !== null && (typeof answer !== "string" || answer === "")) throw new TypeError("that is no token");
    return answer;
  }

  async function renew(): Promise<string | null> {
    const mine = { since: now(), answer: asked() };
    asking = mine;
    try {
      const answer = await mine.answer;
      if (asking === mine) {
        token = answer;
        due = renewAt(expiryOf(answer), now());
      }
      return answer;
    } finally {
      if (asking === mine) asking = null;
    }
  }

  const keeper: TokenKeeper = {
    async get() {
      return token === undefined || (due !== null && now() >= due) ? keeper.renew() : token;
    },
    renew: () => (asking !== null && now() - asking.since < ANSWER_WITHIN_MS ? asking.answer : renew()),
    dueAt: () => due,
  };
  return keeper;
}
