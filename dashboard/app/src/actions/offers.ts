/** Which verbs make sense for what is selected. Pure. */

import type { ButtonState, Verb } from "../lib/verbs.ts";
import { type Chosen, MENU_ORDER } from "./verb.ts";

export interface LeftOut extends Chosen {
  readonly reason: string;
}

export interface Offer {
  readonly verb: Verb;
  readonly able: readonly Chosen[];
  readonly leftOut: readonly LeftOut[];
}

/** What is offered, off and with its reason, where nothing can be done at all. */
const USUAL: readonly Verb[] = ["start", "stop", "restart"];

/**
 * The verbs that at least one of them can take, each with those that can and why the others cannot. Where none can take
 * any: the usual verbs with nobody able, so that the page can say why.
 */
export function offers(chosen: readonly Chosen[], may: (verb: Verb, one: Chosen) => ButtonState): readonly Offer[] {
  const all = MENU_ORDER.map((verb): Offer => {
    const able: Chosen[] = [];
    const leftOut: LeftOut[] = [];
    for (const one of chosen) {
      const answer = may(verb, one);
      if (answer.enabled) able.push(one);
      else leftOut.push({ ...one, reason: answer.reason });
    }
    return { verb, able, leftOut };
  });
  const sensible = all.filter((offer) => offer.able.length > 0);
  return sensible.length > 0 || chosen.length === 0 ? sensible : all.filter((offer) => USUAL.includes(offer.verb));
}

/** "protected (2), not running (1)", the most frequent first. */
export function whyLeftOut(leftOut: readonly LeftOut[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of leftOut) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const named = sorted.slice(0, 3).map(([reason, count]) => (sorted.length === 1 ? reason : `${reason} (${count})`));
  return sorted.length > 3 ? `${named.join("; ")}; and other reasons` : named.join("; ");
}
