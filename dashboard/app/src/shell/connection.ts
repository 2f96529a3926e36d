/** The connection in words. Pure: `nowMs` and the times of a status are on this machine's clock. */

import type { Status, Transport } from "@fleetcast/client";
import type { Tone } from "../ui/StatusDot.tsx";

export interface ConnectionWords {
  readonly tone: Tone;
  /** For the pill: one or two words. */
  readonly label: string;
  /** What a person has to know of it beyond the label; null where all is well. */
  readonly note: string | null;
  /** Whether a button to try now makes sense. */
  readonly canRetry: boolean;
}

export function describeConnection(status: Status, nowMs: number): ConnectionWords {
  switch (status.state) {
    case "open":
      return { tone: status.skippedFrames > 0 ? "warn" : "ok", label: "Live", note: openNote(status), canRetry: false };
    case "connecting": {
      const again = status.session !== null || status.attempt > 1;
      return { tone: "warn", label: again ? "Reconnecting" : "Connecting", note: whyNot(status), canRetry: false };
    }
    case "waiting":
      return { tone: "bad", label: `Retry in ${secondsLeft(status, nowMs)} s`, note: whyNot(status), canRetry: true };
    case "signed-out":
      return { tone: "muted", label: "Signed out", note: whyNot(status), canRetry: false };
    case "refused":
      return {
        tone: "bad",
        label: "Refused",
        note: whyNot(status) ?? "the edge will not have this page",
        canRetry: true,
      };
    case "closed":
      return { tone: "muted", label: "Closed", note: null, canRetry: false };
  }
}

/** "you are 3 frames behind"; null where nothing was left out. */
export function behind(skippedFrames: number): string | null {
  if (skippedFrames === 0) return null;
  return `you are ${skippedFrames} ${skippedFrames === 1 ? "frame" : "frames"} behind`;
}

export const TRANSPORT_NAMES: Readonly<Record<Transport, string>> = {
  websocket: "WebSocket",
  sse: "server-sent events",
  polling: "polling",
};

/** Whole seconds until the next attempt, at least 0. */
export function secondsLeft({ retryAt }: Pick<Status, "retryAt">, nowMs: number): number {
  return retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - nowMs) / 1000));
}

/** Whether what is on the screen has lost its source: then a banner says so, and since when. */
export function isLost({ state, session, attempt }: Status): boolean {
  if (state === "waiting" || state === "refused") return true;
  return state === "connecting" && (session !== null || attempt > 1);
}

function openNote({ transport }: Status): string | null {
  return transport === "websocket" ? null : `over ${TRANSPORT_NAMES[transport]}: WebSocket does not get through`;
}

function whyNot({ lastError }: Status): string | null {
  return lastError?.message ?? null;
}
