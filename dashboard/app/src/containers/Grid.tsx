import { defaultRangeExtractor, useWindowVirtualizer } from "@tanstack/react-virtual";
import { type RefObject, useCallback, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useAct } from "../actions/useAct.ts";
import { useMay } from "../actions/useMay.ts";
import { Frame, HeaderCell, Line, Lines } from "./Cells.tsx";
import { ContainerRow } from "./ContainerRow.tsx";
import css from "./ContainerTable.module.css";
import { CheckAll, GroupRow } from "./GroupRow.tsx";
import type { GroupBy, Item } from "./group.ts";
import type { Row } from "./rows.ts";
import { SortHeader } from "./SortHeader.tsx";
import type { ColumnHeader } from "./useOrder.ts";
import { useRowKeys } from "./useRowKeys.ts";
import type { Selection } from "./useSelection.ts";
import type { Stale } from "./useStale.ts";

const LINE_PX = 38;
const CARD_PX = 94;
const CARD_WITH_HOST_PX = 112;
const GROUP_PX = 40;
const OVERSCAN = 6;

interface GridProps {
  readonly items: readonly Item[];
  readonly listed: readonly Row[];
  readonly headers: readonly ColumnHeader[];
  readonly by: GroupBy;
  readonly card: boolean;
  readonly withHost: boolean;
  readonly stale: Stale;
  readonly selection: Selection;
  /** The rows' place: while somebody points there, or has the focus there, live values do not put them in another order. */
  readonly body: RefObject<HTMLDivElement | null>;
  readonly onCollapse: (name: string, collapsed: boolean) => void;
}

/** The list itself: only what is in sight is there, and the row that has the focus. */
export function Grid(props: GridProps) {
  const { items, card, withHost, selection, stale, body, onCollapse } = props;
  const grid = useRef<HTMLDivElement>(null);
  const [activeKey, setActiveKey] = useState<string | null>(null);
  const found = activeKey === null ? 0 : items.findIndex((item) => item.key === activeKey);
  const active = Math.max(0, found);
  const rowPx = card ? (withHost ? CARD_WITH_HOST_PX : CARD_PX) : LINE_PX;
  const virtual = useWindowVirtualizer<HTMLDivElement>({
    count: items.length,
    estimateSize: (index) => (items[index]?.kind === "group" ? GROUP_PX : rowPx),
    getItemKey: (index) => items[index]?.key ?? index,
    overscan: OVERSCAN,
    scrollMargin: useTop(body),
    scrollPaddingStart: 100,
    scrollPaddingEnd: 80,
    rangeExtractor: useCallback(
      (range: Parameters<typeof defaultRangeExtractor>[0]) => {
        const shown = defaultRangeExtractor(range);
        return shown.includes(active) || active >= range.count ? shown : [...shown, active].sort((a, b) => a - b);
      },
      [active],
    ),
  });
  const { measure } = virtual;
  // The sizes are known by kind: another list or layout, other places.
  // biome-ignore lint/correctness/useExhaustiveDependencies: that they have changed is what matters
  useLayoutEffect(() => measure(), [items, rowPx, measure]);
  const act = useAct();
  const may = useMay();
  const { onKeyDown, said, say } = useRowKeys({
    ...props,
    may,
    act,
    grid,
    active,
    setActive: setActiveKey,
    scrollTo: (index) => virtual.scrollToIndex(index),
  });
  const margin = virtual.options.scrollMargin;
  const selectable = useMemo(() => props.listed.filter((row) => row.goneAt === null), [props.listed]);
  return (
    <>
      <Frame
        ref={grid}
        label="Containers"
        rowCount={items.length + 1}
        className={css.grid}
        data={{ "data-host": withHost }}
        onKeyDown={onKeyDown}
        onRowFocus={setActiveKey}
      >
        {!card && (
          <Lines className={css.head}>
            <Line className={css.headRow} rowIndex={1}>
              <HeaderCell>
                <CheckAll
                  label={`Select all ${selectable.length}`}
                  count={selection.rows.length}
                  of={selectable.length}
                  onChange={(all) => selection.setAll(selectable, all)}
                />
              </HeaderCell>
              {props.headers
                .filter((header) => withHost || header.column.id !== "host")
                .map((header) => (
                  <SortHeader key={header.id} header={header} />
                ))}
              <HeaderCell className={css.actionsHead}>
                <span className="visually-hidden">Actions</span>
              </HeaderCell>
            </Line>
          </Lines>
        )}
        <Lines ref={body} className={css.body} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, start, size, key }) => {
            const item = items[index];
            if (item === undefined) return null;
            const common = { rowIndex: index + 2, active: index === active };
            return (
              <div
                key={key}
                role="presentation"
                className={css.place}
                style={{ height: size, transform: `translateY(${start - margin}px)` }}
              >
                {item.kind === "group" ? (
                  <GroupRow
                    {...common}
                    group={item.group}
                    by={props.by}
                    collapsed={item.collapsed}
                    selected={selection.keys}
                    onCollapse={onCollapse}
                    onSelect={selection.setAll}
                  />
                ) : (
                  <ContainerRow
                    {...common}
                    row={item.row}
                    card={card}
                    withHost={withHost}
                    selected={selection.keys.has(item.key)}
                    stale={stale.get(item.row.host) ?? null}
                    may={may}
                    act={act}
                    onToggle={selection.toggle}
                    onRefused={say}
                  />
                )}
              </div>
            );
          })}
        </Lines>
      </Frame>
      <p className={css.said} role="status">
        {said}
      </p>
    </>
  );
}

/** Where on the page the list begins; asked again as what is above it changes its height. */
function useTop(element: RefObject<HTMLElement | null>): number {
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const look = () => {
      const box = element.current?.getBoundingClientRect();
      if (box) setTop(Math.round(box.top + window.scrollY));
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, [element]);
  return top;
}
