/** Where the keyboard has put the crosshair of a group of charts, kept while data moves under it. */

type Follower = (at: number | null) => void;

interface Group {
  held: number | null;
  readonly followers: Set<Follower>;
}

const groups = new Map<string, Group>();

/** On all charts of the group, ms since the epoch; null takes it away. */
export function holdCrosshair(group: string, at: number | null): void {
  const found = groups.get(group);
  if (found === undefined) return;
  found.held = at;
  for (const follow of found.followers) follow(at);
}

/** It goes where the mouse goes from now on. */
export function releaseCrosshair(group: string): void {
  const found = groups.get(group);
  if (found !== undefined) found.held = null;
}

export function heldCrosshair(group: string): number | null {
  return groups.get(group)?.held ?? null;
}

/** Returns what ends it. A group without charts is forgotten. */
export function followCrosshair(group: string, follow: Follower): () => void {
  const found = groups.get(group) ?? { held: null, followers: new Set() };
  groups.set(group, found);
  found.followers.add(follow);
  return () => {
    found.followers.delete(follow);
    if (found.followers.size === 0) groups.delete(group);
  };
}
