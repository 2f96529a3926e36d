import { useCallback, useMemo, useRef, useState } from "react";
import type { Row } from "./rows.ts";

export interface Selection {
  /** Only what is listed now: nothing is done to what one does not see. */
  readonly rows: readonly Row[];
  readonly keys: ReadonlySet<string>;
  /** `range`: everything from the last one that was toggled. */
  readonly toggle: (key: string, range: boolean) => void;
  readonly setAll: (rows: readonly Row[], selected: boolean) => void;
  readonly clear: () => void;
}

const NOTHING: ReadonlySet<string> = new Set();

/** `listed`: in the order in which they are drawn. */
export function useSelection(listed: readonly Row[]): Selection {
  const [chosen, setChosen] = useState(NOTHING);
  const anchor = useRef<string | null>(null);
  const listedNow = useRef(listed);
  listedNow.current = listed;

  const setAll = useCallback((rows: readonly Row[], selected: boolean) => {
    setChosen((before) => {
      const next = new Set(before);
      for (const row of rows) {
        if (selected && row.goneAt === null) next.add(row.key);
        else next.delete(row.key);
      }
      return next;
    });
  }, []);

  const toggle = useCallback((key: string, range: boolean) => {
    const all = listedNow.current;
    const to = all.findIndex((row) => row.key === key);
    const from = range ? all.findIndex((row) => row.key === anchor.current) : -1;
    anchor.current = key;
    setChosen((before) => {
      const span = from === -1 ? all.slice(to, to + 1) : all.slice(Math.min(from, to), Math.max(from, to) + 1);
      const next = new Set(before);
      const select = range || !before.has(key);
      for (const row of span) {
        if (select && row.goneAt === null) next.add(row.key);
        else next.delete(row.key);
      }
      return next;
    });
  }, []);

  const clear = useCallback(() => setChosen(NOTHING), []);
  const rows = useMemo(
    () => (chosen.size === 0 ? [] : listed.filter((row) => chosen.has(row.key) && row.goneAt === null)),
    [listed, chosen],
  );
  const keys = useMemo(() => new Set(rows.map((row) => row.key)), [rows]);
  return { rows, keys, toggle, setAll, clear };
}
