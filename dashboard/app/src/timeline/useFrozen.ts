import { useEffect, useState } from "react";
import type { Entry } from "./entries.ts";

/** Beyond this somebody reads, and what is read must not move. */
const TOP_PX = 40;

export interface Frozen {
  readonly shown: readonly Entry[];
  /** How many have come since. */
  readonly fresh: number;
}

/** The list as it is at the top of the page; as it was when one began to scroll, further down. */
export function useFrozen(entries: readonly Entry[]): Frozen {
  const [isAtTop, setAtTop] = useState(true);
  const [newest, setNewest] = useState<Entry | null>(null);
  useEffect(() => {
    const look = () => setAtTop(window.scrollY <= TOP_PX);
    look();
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  // While at the top, the newest is the one that is in sight.
  const top = entries[0] ?? null;
  if (isAtTop && newest !== top) setNewest(top);
  if (isAtTop || newest === null) return { shown: entries, fresh: 0 };
  return since(entries, newest);
}

/** Without what is newer than this one: also where it has gone itself, for a filter may have changed. */
export function since(entries: readonly Entry[], newest: Entry): Frozen {
  const fresh = entries.findIndex((entry) => entry.at < newest.at || entry.key === newest.key);
  const count = fresh === -1 ? 0 : fresh;
  return { shown: count === 0 ? entries : entries.slice(count), fresh: count };
}
