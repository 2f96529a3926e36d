import type { HostStatus } from "@fleetcast/client";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import {
  type CSSProperties,
  type FocusEvent,
  type KeyboardEvent,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { useNow } from "../lib/clock.ts";
import { overdueAfterMs } from "../lib/freshness.ts";
import { useConnected } from "../lib/status.ts";
import css from "./HostGrid.module.css";
import { HostItem } from "./HostItem.tsx";
import { columnsIn, isStep, linesOf, stepFrom } from "./layout.ts";
import type { Group } from "./order.ts";
import { COVERED_ABOVE, COVERED_BELOW, GAP, HEADING_HEIGHT, sizesOf } from "./sizes.ts";
import type { FleetStore } from "./store.ts";
import { useBox } from "./useBox.ts";

interface HostGridProps {
  readonly groups: readonly Group[];
  readonly roster: ReadonlyMap<string, HostStatus>;
  readonly store: FleetStore;
  readonly view: "tiles" | "rows";
  /** The label that it is grouped by. */
  readonly groupBy: string | null;
}

/** Lines that are rendered beyond the screen's edges. */
const OVERSCAN = 2;
/** How often it is looked for hosts of which nothing comes any more. */
const OVERDUE_EVERY_MS = 5_000;

/** Every host at its place, of which those on the screen are there. Arrow keys lead from one to the next. */
export function HostGrid({ groups, roster, store, view, groupBy }: HostGridProps) {
  const [list, setList] = useState<HTMLUListElement | null>(null);
  const { width, top } = useBox(list);
  const connected = useConnected();
  const now = useNow(OVERDUE_EVERY_MS);
  const sizes = sizesOf(view, width);
  const columns = view === "tiles" ? columnsIn(width, sizes.narrowest, GAP) : 1;
  const lines = useMemo(() => linesOf(groups, columns, groupBy !== null), [groups, columns, groupBy]);
  const count = groups.reduce((sum, group) => sum + group.hosts.length, 0);
  const step = sizes.height + sizes.gap;

  // A new function for new lines: the virtualizer keeps sizes as long as their keys are the same ones.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  const keyOf = useCallback((index: number) => index, [lines, step]);
  const virtualizer = useWindowVirtualizer({
    count: width === 0 ? 0 : lines.length,
    estimateSize: (index) => (lines[index]?.kind === "heading" ? HEADING_HEIGHT : step),
    getItemKey: keyOf,
    overscan: OVERSCAN,
    scrollMargin: top,
    scrollPaddingStart: COVERED_ABOVE,
    scrollPaddingEnd: COVERED_BELOW,
    // At the browser's own pace: a tile that comes a frame later is less than a frame that comes late.
    useFlushSync: false,
  });
  const visible = virtualizer.getVirtualItems();

  const [current, setCurrent] = useState<string | null>(null);
  const wanted = useRef<string | null>(null);
  useEffect(() => {
    if (wanted.current === null || list === null) return;
    const link = list.querySelector<HTMLElement>(`[data-host="${CSS.escape(wanted.current)}"]`);
    if (link === null) return;
    wanted.current = null;
    link.focus({ preventScroll: true });
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const host = hostOf(event.target);
    if (host === null || !isStep(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = stepFrom(lines, host, event.key);
    if (place === null) return;
    event.preventDefault();
    wanted.current = place.host;
    setCurrent(place.host);
    virtualizer.scrollToIndex(place.line, { align: "auto" });
  };
  const onFocus = (event: FocusEvent) => setCurrent(hostOf(event.target));

  const shown = visible.flatMap(({ index }) => {
    const line = lines[index];
    return line?.kind === "hosts" ? line.hosts : [];
  });
  const tabbable = current !== null && shown.includes(current) ? current : shown[0];
  const tileWidth = (width - (columns - 1) * GAP) / columns;

  const style = {
    height: virtualizer.getTotalSize(),
    "--item-width": `${tileWidth}px`,
    "--item-height": `${sizes.height}px`,
  } as CSSProperties;

  return (
    <div className={css.grid}>
      {view === "rows" && <ColumnNames />}
      <ul ref={setList} className={css.list} style={style} aria-label="Hosts" onKeyDown={onKeyDown} onFocus={onFocus}>
        {visible.map(({ index, start }) => {
          const line = lines[index];
          const y = start - top;
          if (line === undefined) return null;
          if (line.kind === "heading") {
            const { name, hosts } = line.group;
            return <Heading key={`heading ${name}`} label={groupBy ?? ""} name={name} count={hosts.length} y={y} />;
          }
          return line.hosts.map((host, column) => {
            const status = roster.get(host);
            if (status === undefined) return null;
            return (
              <HostItem
                key={host}
                status={status}
                store={store}
                view={view}
                connected={connected}
                overdue={now - (store.metricsOf(host)?.sampledAt ?? now) > overdueAfterMs(status.links.metrics)}
                x={Math.round(column * (tileWidth + GAP))}
                y={y}
                sparkWidth={sizes.sparkWidth}
                place={line.first + column + 1}
                count={count}
                tabbable={host === tabbable}
              />
            );
          });
        })}
      </ul>
    </div>
  );
}

function Heading(props: { readonly label: string; readonly name: string; readonly count: number; readonly y: number }) {
  const { label, name, count, y } = props;
  return (
    <li className={css.heading} style={{ transform: `translateY(${y}px)` }}>
      <h2>
        <span className={css.label}>{label}</span> {name === "" ? "none" : name}
      </h2>
      <span className={css.count}>{count === 1 ? "1 host" : `${count} hosts`}</span>
    </li>
  );
}

function ColumnNames() {
  return (
    <div className={css.columns} aria-hidden="true">
      {["Host", "Status", "CPU", "Memory", "Network", "Disk", "Load", "Up", "Containers"].map((name) => (
        <span key={name} data-column={name.toLowerCase()}>
          {name}
        </span>
      ))}
    </div>
  );
}

function hostOf(target: EventTarget): string | null {
  return target instanceof Element ? (target.closest("[data-host]")?.getAttribute("data-host") ?? null) : null;
}
