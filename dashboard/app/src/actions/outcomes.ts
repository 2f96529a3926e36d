/** Several actions told as one: a bulk's list, and what is said aloud. Pure. */

import { explain, isFinal } from "./explain.ts";
import type { Tracked } from "./store.ts";
import { VERB_LABEL } from "./verb.ts";

export interface Bulk {
  readonly id: string;
  readonly title: string;
  /** "5 succeeded, 1 refused, 1 under way". */
  readonly summary: string;
  readonly done: boolean;
  readonly finished: number;
  /** What went wrong first, then what is under way, then what is done. */
  readonly actions: readonly Tracked[];
}

const WORDS: readonly (readonly [string, (action: Tracked) => boolean])[] = [
  ["succeeded", (action) => action.stage === "succeeded"],
  ["failed", (action) => action.stage === "failed"],
  ["refused", (action) => action.stage === "rejected"],
  ["expired", (action) => action.stage === "expired"],
  ["unknown", (action) => action.stage === "unknown"],
  ["under way", (action) => !isFinal(action.stage)],
];

/** The bulks of which something is still to be seen, newest first. */
export function bulksOf(recent: readonly Tracked[]): readonly Bulk[] {
  return Array.from(byBulk(recent), ([id, actions]) => bulkOf(id, actions)).filter((bulk) =>
    bulk.actions.some((action) => !action.dismissed),
  );
}

export interface Announced {
  readonly text: string;
  /** What it has told of: keys of actions and ids of bulks. */
  readonly told: readonly string[];
}

/** What has come to its end and was not told of yet, in one sentence or a few; a bulk only as a whole. */
export function announce(recent: readonly Tracked[], told: ReadonlySet<string>): Announced | null {
  const singles = recent.filter((action) => action.bulk === null && isFinal(action.stage) && !told.has(action.key));
  const bulks = Array.from(byBulk(recent), ([id, actions]) => bulkOf(id, actions)).filter(
    (bulk) => bulk.done && !told.has(bulk.id),
  );
  if (singles.length + bulks.length === 0) return null;
  const sentences = [
    ...singles.map((action) => explain(action).full).reverse(),
    ...bulks.map((bulk) => `${bulk.title}: ${bulk.summary}.`).reverse(),
  ];
  return { text: sentences.join(" "), told: [...singles.map(({ key }) => key), ...bulks.map(({ id }) => id)] };
}

export function tally(actions: readonly Tracked[]): string {
  return WORDS.map(([word, is]) => [word, actions.filter(is).length] as const)
    .filter(([, count]) => count > 0)
    .map(([word, count]) => `${count} ${word}`)
    .join(", ");
}

function byBulk(recent: readonly Tracked[]): ReadonlyMap<string, readonly Tracked[]> {
  const found = new Map<string, Tracked[]>();
  for (const action of recent) {
    if (action.bulk === null) continue;
    const there = found.get(action.bulk);
    if (there) there.push(action);
    else found.set(action.bulk, [action]);
  }
  return found;
}

function bulkOf(id: string, newestFirst: readonly Tracked[]): Bulk {
  const actions = newestFirst.toReversed().sort((a, b) => rank(a) - rank(b));
  const finished = actions.filter((action) => isFinal(action.stage)).length;
  const verb = actions[0]?.verb;
  return {
    id,
    title: `${verb ? VERB_LABEL[verb] : ""} of ${actions.length} containers`,
    summary: tally(actions),
    done: finished === actions.length,
    finished,
    actions,
  };
}

function rank({ stage }: Tracked): number {
  if (stage === "succeeded") return 2;
  return isFinal(stage) ? 0 : 1;
}
