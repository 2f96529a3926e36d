/** What somebody has asked for and is to confirm: one at a time, for there is one dialog. */

import type { Verb } from "../lib/verbs.ts";
import type { LeftOut } from "./offers.ts";
import type { Chosen } from "./verb.ts";

export interface Question {
  readonly verb: Verb;
  /** At least one, as they were on the screen. */
  readonly chosen: readonly Chosen[];
  /** Chosen too, but not possible. */
  readonly leftOut: readonly LeftOut[];
}

let open: Question | null = null;
const listeners = new Set<() => void>();

export const questions = {
  current: (): Question | null => open,
  /** Null: nothing is asked any more. */
  ask(question: Question | null): void {
    open = question;
    for (const listener of listeners) listener();
  },
  subscribe(onChange: () => void): () => void {
    listeners.add(onChange);
    return () => listeners.delete(onChange);
  },
};
