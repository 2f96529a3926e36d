/** The sign-in token: in this tab until it is closed, never in a URL, never in a log. */

import { dateTime } from "../lib/format.ts";

const PLACE = "fleetcast.token";

export function token(): string | null {
  return sessionStorage.getItem(PLACE);
}

export function keepToken(value: string): void {
  sessionStorage.setItem(PLACE, value);
}

export function forgetToken(): void {
  sessionStorage.removeItem(PLACE);
}

export type CheckedToken =
  | { readonly problem: null; readonly token: string }
  | { readonly problem: string; readonly token: null };

/** What somebody has pasted, before the edge is asked: whether it can be a token at all, and one that has not run out. */
export function checkToken(pasted: string, nowMs: number): CheckedToken {
  const text = pasted.trim().replace(/^bearer\s+/i, "");
  if (text === "") return bad("Paste a token.");
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(text))
    return bad("This is no token: it has three parts with dots between them.");
  const expiresMs = expiry(text);
  if (expiresMs !== null && expiresMs <= nowMs)
    return bad(`This token ran out at ${dateTime(expiresMs)}: get a new one.`);
  return { problem: null, token: text };
}

/** When a JWT says that it runs out, ms; null where it does not say, or cannot be read. */
function expiry(token: string): number | null {
  try {
    const claims: unknown = JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
    if (typeof claims !== "object" || claims === null || !("exp" in claims)) return null;
    return typeof claims.exp === "number" ? claims.exp * 1000 : null;
  } catch {
    return null; // the edge is the judge of what cannot be read here
  }
}

function bad(problem: string): CheckedToken {
  return { problem, token: null };
}
