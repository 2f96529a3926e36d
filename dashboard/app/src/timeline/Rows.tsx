import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";
import { EntryRow } from "./EntryRow.tsx";
import type { Row } from "./entries.ts";
import css from "./Rows.module.css";

const ENTRY_PX = 34;
const DAY_PX = 40;

/** Only those in sight are in the page; each is as high as its words need. */
export function Rows({ rows, withHost }: { readonly rows: readonly Row[]; readonly withHost: boolean }) {
  const list = useRef<HTMLUListElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop(list.current?.offsetTop ?? 0), []);
  const virtualizer = useWindowVirtualizer({
    count: rows.length,
    estimateSize: (index) => (rows[index]?.type === "day" ? DAY_PX : ENTRY_PX),
    getItemKey: (index) => rows[index]?.key ?? index,
    overscan: 12,
    scrollMargin: top,
  });
  return (
    <ul ref={list} className={css.rows} style={{ height: virtualizer.getTotalSize() }} aria-label="Newest first">
      {virtualizer.getVirtualItems().map(({ index, key, start }) => {
        const row = rows[index];
        return (
          row && (
            <li
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              aria-posinset={index + 1}
              aria-setsize={rows.length}
              style={{ transform: `translateY(${start - top}px)` }}
            >
              {row.type === "day" ? (
                <h2 className={css.day}>{row.label}</h2>
              ) : (
                <EntryRow entry={row.entry} opensMinute={row.opensMinute} withHost={withHost} />
              )}
            </li>
          )
        );
      })}
    </ul>
  );
}
