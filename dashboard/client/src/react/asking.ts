/** Asking the edge over HTTP: what an answer must look like, and when to ask again. */

import { FleetcastError } from "../errors.ts";

const MOST_RETRIES = 5;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;

/** Only what may go well another time: no answer, an edge that is full (429) or not ready (503). */
export function shouldRetry(failures: number, error: Error): boolean {
  if (failures >= MOST_RETRIES || !(error instanceof FleetcastError)) {
    return false;
  }
  return error.status === null || error.status === 429 || error.status >= 500;
}

/** Exponential, the upper half of it by chance, and never sooner than the edge wants. */
export function retryDelayMs(failures: number, error: Error): number {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** failures, LONGEST_DELAY_MS) * (0.5 + Math.random() / 2);
  const leastMs = error instanceof FleetcastError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(delayMs, leastMs);
}

/** Throws where the answer is no object with this value in this member: another server has answered. */
export function expectMember(answer: unknown, member: string, value: unknown): object {
  if (typeof answer === "object" && answer !== null && member in answer) {
    if ((answer as Readonly<Record<string, unknown>>)[member] === value) {
      return answer;
    }
  }
  throw new Error(`an answer whose "${member}" should be ${JSON.stringify(value)} is not of a Fleetcast edge`);
}

/** Throws where the answer has no list of events. */
export function expectEvents(answer: unknown): readonly unknown[] {
  if (typeof answer === "object" && answer !== null && "events" in answer && Array.isArray(answer.events)) {
    return answer.events;
  }
  throw new Error('an answer without "events" is not of a Fleetcast edge');
}
