import { type RefObject, useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "wouter";
import { Empty } from "../ui/Empty.tsx";
import { BulkBar } from "./BulkBar.tsx";
import css from "./ContainerTable.module.css";
import { filterRows } from "./filter.ts";
import { Grid } from "./Grid.tsx";
import { Counts } from "./GroupRow.tsx";
import { groupRows, itemsOf, summaryOf } from "./group.ts";
import { StaleNote } from "./StaleNote.tsx";
import { Toolbar } from "./Toolbar.tsx";
import { createUsageBoard, UsageBoardContext } from "./usage.ts";
import { useOrder } from "./useOrder.ts";
import { useRows, useUsageByHost } from "./useRows.ts";
import { useSelection } from "./useSelection.ts";
import { useStale } from "./useStale.ts";
import { type View, viewOf, withView } from "./view.ts";

interface ContainerTableProps {
  /** Of all hosts without it. */
  readonly host?: string;
  /** Searched for, in place of a search field of its own. */
  readonly query?: string;
}

/**
 * Containers with what they use and what can be done to them, grouped, searched and sorted; how they are looked at is
 * in the URL. It scrolls with the page.
 */
export function ContainerTable(props: ContainerTableProps) {
  const [board] = useState(createUsageBoard);
  const [params] = useSearchParams();
  const host = props.host ?? viewOf(params).host ?? undefined;
  return (
    <UsageBoardContext value={board}>
      <UsageFeed host={host} put={board.put} />
      <Listing {...props} shownHost={host} />
    </UsageBoardContext>
  );
}

/** Apart, so that a second's figures render nothing but the cells that show them. */
function UsageFeed({
  host,
  put,
}: {
  readonly host: string | undefined;
  readonly put: (usage: ReturnType<typeof useUsageByHost>) => void;
}) {
  const usage = useUsageByHost(host);
  useEffect(() => put(usage), [usage, put]);
  return null;
}

function Listing({ host, query, shownHost }: ContainerTableProps & { readonly shownHost: string | undefined }) {
  const { view, change } = useView(host, query);
  const { book, messages, loading, error } = useRows(shownHost);
  const stale = useStale(messages);
  const sought = useDeferredValue(view.query);
  const { state, health, sort, descending, group } = view;
  const rows = useMemo(
    () => filterRows(book.rows, { query: sought, state, health, host: null }),
    [book.rows, sought, state, health],
  );
  const body = useRef<HTMLDivElement>(null);
  const held = useCallback(() => body.current?.matches(":hover, :focus-within") ?? false, []);
  const { ordered, headers } = useOrder({
    rows,
    sort,
    descending,
    onSort: (key, desc) => change({ sort: key, descending: desc }),
    held,
  });
  const groups = useMemo(() => groupRows(ordered, group, sort !== "name"), [ordered, group, sort]);
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(new Set());
  const onCollapse = useCallback(
    (name: string, closed: boolean) => setCollapsed((before) => toggled(before, name, closed)),
    [],
  );
  const items = useMemo(() => itemsOf(ordered, groups, collapsed), [ordered, groups, collapsed]);
  const listed = useMemo(() => (groups.length === 0 ? ordered : groups.flatMap((one) => one.rows)), [ordered, groups]);
  const selection = useSelection(listed);
  const frame = useRef<HTMLDivElement>(null);
  const card = useNarrow(frame);
  const allHosts = host === undefined;
  const withHost = shownHost === undefined;
  return (
    <div ref={frame} className={css.frame} data-selecting={selection.rows.length > 0}>
      <Toolbar view={view} onChange={change} allHosts={allHosts} withSearch={query === undefined} withSort={card}>
        {ordered.length > 0 && <Counts summary={summaryOf(ordered)} withHosts />}
      </Toolbar>
      <StaleNote stale={stale} messages={messages} />
      {items.length === 0 ? (
        <Nothing loading={loading} error={error} filtered={book.rows.length > 0} onReset={() => change(UNFILTERED)} />
      ) : (
        <Grid {...{ items, listed, headers, card, withHost, stale, selection, body, onCollapse }} by={group} />
      )}
      {selection.rows.length > 0 && <BulkBar rows={selection.rows} onClear={selection.clear} />}
    </div>
  );
}

const UNFILTERED: Partial<View> = { query: "", state: "all", health: "all", host: null };

interface NothingProps {
  readonly loading: boolean;
  readonly error: Error | null;
  readonly filtered: boolean;
  readonly onReset: () => void;
}

function Nothing({ loading, error, filtered, onReset }: NothingProps) {
  if (filtered) {
    return (
      <Empty title="No container fits.">
        <button type="button" className={css.reset} onClick={onReset}>
          Show all of them
        </button>
      </Empty>
    );
  }
  if (error !== null) return <Empty title="The containers could not be had.">{error.message}</Empty>;
  return loading ? <Empty title="Waiting for the containers…" /> : <Empty title="There are no containers here." />;
}

/** How it is looked at, from the URL and back into it. */
function useView(host: string | undefined, query: string | undefined) {
  const [params, setParams] = useSearchParams();
  const ofUrl = viewOf(params);
  const grouped = host !== undefined && ofUrl.group === "host" ? "project" : ofUrl.group;
  const view: View = { ...ofUrl, group: grouped, query: query ?? ofUrl.query };
  const change = (changes: Partial<View>) =>
    setParams((before) => withView(before, { ...viewOf(before), ...changes }), { replace: true });
  return { view, change };
}

function toggled(names: ReadonlySet<string>, name: string, closed: boolean): ReadonlySet<string> {
  const next = new Set(names);
  if (closed) next.add(name);
  else next.delete(name);
  return next;
}

/** Below this the columns have no room. */
const NARROW_PX = 960;

function useNarrow(frame: RefObject<HTMLElement | null>): boolean {
  const [narrow, setNarrow] = useState(() => window.innerWidth < NARROW_PX);
  useEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const observer = new ResizeObserver(([entry]) => entry && setNarrow(entry.contentRect.width < NARROW_PX));
    observer.observe(element);
    return () => observer.disconnect();
  }, [frame]);
  return narrow;
}
