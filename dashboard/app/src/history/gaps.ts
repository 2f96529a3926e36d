/** Where samples are missing: further apart than they usually are. Pure. */

/** Times the usual interval, within a collector's run, and from one run to the next: that one has been away. */
const WITHIN_A_RUN = 2.5;
const ACROSS_RUNS = 1.5;
/** Hosts that are sampled faster are no worse than others. */
const SHORTEST_USUAL_MS = 1_000;
/** One sample of a host that nobody watches lies as far from the next, also between two visits: nothing is missing. */
const UNWATCHED_MS = 12_000;
const NEIGHBOURS = 5;

/** `usual`: null where it is not known; nothing is a gap then. */
export function isGap(intervalMs: number, usual: number | null, sameRun: boolean): boolean {
  if (usual === null || (sameRun && intervalMs <= UNWATCHED_MS)) return false;
  return intervalMs > (sameRun ? WITHIN_A_RUN : ACROSS_RUNS) * Math.max(usual, SHORTEST_USUAL_MS);
}

/** The median; null of none. */
export function usualMs(intervals: readonly number[]): number | null {
  const sorted = [...intervals].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? null;
}

/**
 * The indexes of those times before which something is missing. What is usual may change: every ten seconds while nobody
 * watches, every second while somebody does. So an interval is compared with those before it and those after it, and
 * the longer of the two is what is usual there.
 */
export function gaps(t: readonly number[]): ReadonlySet<number> {
  const found = new Set<number>();
  for (let index = 1; index < t.length; index += 1) {
    const interval = intervalAt(t, index);
    if (interval <= UNWATCHED_MS) continue;
    const before = usualMs(intervalsOf(t, index - NEIGHBOURS, index));
    const after = usualMs(intervalsOf(t, index + 1, index + 1 + NEIGHBOURS));
    const usual = before === null || after === null ? (before ?? after) : Math.max(before, after);
    if (isGap(interval, usual, true)) found.add(index);
  }
  return found;
}

function intervalsOf(t: readonly number[], from: number, to: number): readonly number[] {
  const found: number[] = [];
  for (let index = Math.max(1, from); index < Math.min(to, t.length); index += 1) found.push(intervalAt(t, index));
  return found;
}

function intervalAt(t: readonly number[], index: number): number {
  return (t[index] ?? 0) - (t[index - 1] ?? 0);
}
