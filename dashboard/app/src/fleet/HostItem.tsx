import type { HostStatus } from "@fleetcast/client";
import { memo, type ReactNode, useDeferredValue } from "react";
import { Link } from "wouter";
import { Sparkline } from "../history/Sparkline.tsx";
import { type Spark, useSparkline } from "../history/sparklines.ts";
import { percent } from "../lib/format.ts";
import { freshness } from "../lib/freshness.ts";
import { Age } from "../ui/Age.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Meter } from "../ui/Meter.tsx";
import { StatusDot, type Tone } from "../ui/StatusDot.tsx";
import { conditionOf } from "./condition.ts";
import css from "./HostItem.module.css";
import { type Reading, readingOf } from "./reading.ts";
import type { Counts, FleetStore } from "./store.ts";
import { useHostNow } from "./useFleet.ts";

export interface HostItemProps {
  readonly status: HostStatus;
  readonly store: FleetStore;
  readonly view: "tiles" | "rows";
  readonly connected: boolean;
  /** Nothing has come for long, although the link is live. */
  readonly overdue: boolean;
  /** From the list's corner, in pixels. */
  readonly x: number;
  readonly y: number;
  readonly sparkWidth: number;
  /** From 1, and of how many. */
  readonly place: number;
  readonly count: number;
  readonly tabbable: boolean;
}

/** One host as it is now. Renders again when one of its own messages came; its size never changes. */
export const HostItem = memo(function HostItem(props: HostItemProps) {
  const { status, store, view, connected, x, y } = props;
  const { host } = status;
  const { metrics, counts } = useHostNow(store, host);
  const spark = useSparkline(host, metrics !== null); // what is now is shown before what was
  const condition = conditionOf(status, metrics?.data ?? null, counts);
  const { isStale, reason } = staleness(props, metrics?.sampledAt ?? null);
  const countsAreStale = !connected || status.links.containers.state !== "live";
  const tone: Tone = connected ? condition.tone : "muted";
  // Without a connection nobody knows whether it still is in trouble.
  const problems = connected && condition.problems.length > 0 ? condition.problems.join(" · ") : null;
  const said = problems ?? reason ?? labelsIn(status);
  const Body = view === "tiles" ? Tile : Row;
  return (
    <li
      className={css[view]}
      style={{ transform: `translate(${x}px, ${y}px)` }}
      aria-setsize={props.count}
      aria-posinset={props.place}
      data-condition={tone}
    >
      <Body
        name={
          <span className={css.name}>
            <StatusDot tone={tone} />
            <Link
              href={`/hosts/${encodeURIComponent(host)}`}
              data-host={host}
              tabIndex={props.tabbable ? 0 : -1}
              title={host}
            >
              {host}
            </Link>
          </span>
        }
        said={
          <p className={css.said} data-tone={problems === null ? "muted" : tone} title={said}>
            <span className="visually-hidden">{wordOf(tone)} </span>
            <span className="truncate">{said}</span>
            {isStale && (metrics !== null || status.status === "gone") && (
              <span className={css.age}>
                <Age at={metrics?.sampledAt ?? status.lastSeenAt} />
              </span>
            )}
          </p>
        }
        containers={<Containers counts={counts} isStale={countsAreStale} />}
        reading={readingOf(metrics?.data ?? null)}
        isStale={isStale}
        spark={spark}
        sparkWidth={props.sparkWidth}
      />
    </li>
  );
});

interface BodyProps {
  readonly name: ReactNode;
  readonly said: ReactNode;
  readonly containers: ReactNode;
  readonly reading: Reading;
  readonly isStale: boolean;
  readonly spark: Spark | null;
  readonly sparkWidth: number;
}

function Tile({ name, said, containers, reading, isStale, spark, sparkWidth }: BodyProps) {
  const isOld = (part: string) => isStale || reading.stale.includes(part);
  return (
    <>
      <div className={css.head}>
        {name}
        {containers}
      </div>
      {said}
      <div className={css.values}>
        <div data-stale={isOld("cpu")} className={css.cpu}>
          <span className={css.term}>CPU</span>
          <span className={css.value}>{reading.cpu}</span>
          <SparkOf spark={spark} part="cpu" width={sparkWidth} />
        </div>
        <div data-stale={isOld("memory")} className={css.memory} title={reading.memoryBytes}>
          <span className={css.term}>Memory</span>
          <span className={css.value}>{reading.memory}</span>
          <SparkOf spark={spark} part="memory" width={sparkWidth} />
        </div>
        <div data-stale={isOld("network")} className={css.network}>
          <span className={css.term}>Network</span>
          <span className={css.value}>
            <Rates reading={reading} />
          </span>
          <SparkOf spark={spark} part="network" width={sparkWidth} />
        </div>
      </div>
      <div className={css.foot} data-stale={isStale}>
        <div className={css.disk} data-stale={isOld("disks")} title={`${reading.diskMount} is the fullest`}>
          <span className={css.term}>
            <span className={reading.diskMount.length > 1 ? "visually-hidden" : undefined}>Disk </span>
            <span className={css.mount}>{reading.diskMount}</span>
          </span>
          <span className={css.value}>{percent(reading.diskPercent)}</span>
          <Meter percent={reading.diskPercent} label={`Disk ${reading.diskMount}`} {...mutedIf(isOld("disks"))} />
        </div>
        <div>
          <span className={css.term}>Load</span>
          <span className={css.value}>{reading.load}</span>
        </div>
        <div>
          <span className={css.term}>Up</span>
          <span className={css.value}>{reading.uptime}</span>
        </div>
      </div>
    </>
  );
}

/** As a tile, in one line; the columns' names stand above all of them, and here for screen readers. */
function Row({ name, said, containers, reading, isStale, spark, sparkWidth }: BodyProps) {
  const isOld = (part: string) => isStale || reading.stale.includes(part);
  return (
    <>
      {name}
      {said}
      <Cell label="CPU" isStale={isOld("cpu")} className={css.cpu}>
        <span className={css.number}>{reading.cpu}</span>
        <SparkOf spark={spark} part="cpu" width={sparkWidth} />
      </Cell>
      <Cell label="memory" isStale={isOld("memory")} className={css.memory}>
        <span className={css.number}>{reading.memory}</span>
        <SparkOf spark={spark} part="memory" width={sparkWidth} />
      </Cell>
      <Cell label="network" isStale={isOld("network")} className={css.network}>
        <Rates reading={reading} />
        <SparkOf spark={spark} part="network" width={sparkWidth} />
      </Cell>
      <Cell label={`disk ${reading.diskMount}`} isStale={isOld("disks")} className={css.disk}>
        <span className={css.number}>{percent(reading.diskPercent)}</span>
        <Meter percent={reading.diskPercent} label={`Disk ${reading.diskMount}`} {...mutedIf(isOld("disks"))} />
      </Cell>
      <Cell label="load" isStale={isStale} className={css.load}>
        <span className={css.number}>{reading.load}</span>
      </Cell>
      <Cell label="up" isStale={isStale} className={css.uptime}>
        <span className={css.number}>{reading.uptime}</span>
      </Cell>
      {containers}
    </>
  );
}

interface CellProps {
  readonly label: string;
  readonly isStale: boolean;
  readonly className: string | undefined;
  readonly children: ReactNode;
}

function Cell({ label, isStale, className, children }: CellProps) {
  return (
    <span className={className} data-stale={isStale}>
      <span className="visually-hidden">{label} </span>
      {children}
    </span>
  );
}

function Rates({ reading }: { readonly reading: Reading }) {
  return (
    <span className={css.rates}>
      <span>
        <Icon name="down" size={10} />
        <span className="visually-hidden">in </span>
        {reading.rx}
      </span>
      <span>
        <Icon name="up" size={10} />
        <span className="visually-hidden">out </span>
        {reading.tx}
      </span>
    </span>
  );
}

interface SparkOfProps {
  readonly spark: Spark | null;
  readonly part: "cpu" | "memory" | "network";
  readonly width: number;
}

const SPARK_HEIGHT = 22;
const NO_VALUES: readonly null[] = [];

function SparkOf({ spark, part, width }: SparkOfProps) {
  // Lines come a moment after the numbers: so much less to do at once for tiles that are scrolled into sight.
  const isTime = useDeferredValue(true, false);
  if (width === 0) return null;
  return (
    <Sparkline
      values={isTime && spark !== null ? spark[part] : NO_VALUES}
      version={spark?.version ?? 0}
      label={`${part === "cpu" ? "CPU" : part}, last 15 minutes`}
      width={width}
      height={SPARK_HEIGHT}
      {...(part === "network" ? {} : { max: 100 })}
    />
  );
}

/** Running of all; those that are unhealthy by themselves, for they are what one looks for. */
function Containers({ counts, isStale }: { readonly counts: Counts | null; readonly isStale: boolean }) {
  const unhealthy = counts?.unhealthy ?? 0;
  return (
    <span className={css.containers} data-stale={isStale} title={counts === null ? "" : wordsFor(counts)}>
      {unhealthy > 0 && (
        <span className={css.unhealthy}>
          <Icon name="heart" size={11} />
          {unhealthy}
          <span className="visually-hidden"> unhealthy,</span>
        </span>
      )}
      <Icon name="box" size={12} />
      {counts === null ? "–" : `${counts.running}/${counts.total}`}
      <span className="visually-hidden"> containers running</span>
    </span>
  );
}

/** Whether the metrics are not of now, and why; of what has never come, nothing is old. */
function staleness({ status, connected, overdue }: HostItemProps, sampledAt: number | null) {
  const { state, reason } = freshness({
    ...{ link: status.links.metrics, sampledAt, connected, kind: "metrics" },
    now: sampledAt ?? 0,
  });
  if (overdue && state === "live") return { isStale: true, reason: "no new sample" };
  return { isStale: state !== "live", reason };
}

function wordOf(tone: Tone): string {
  return { ok: "live:", warn: "in trouble:", bad: "in trouble:", muted: "not live:" }[tone];
}

function wordsFor({ running, total, unhealthy }: Counts): string {
  return `${running} of ${total} containers run${unhealthy > 0 ? `, ${unhealthy} unhealthy` : ""}`;
}

function labelsIn(status: HostStatus): string {
  return Object.values(status.labels).join(" · ");
}

function mutedIf(isStale: boolean): { readonly tone?: "muted" } {
  return isStale ? { tone: "muted" } : {};
}
