import type { HostStatus } from "@fleetcast/client";
import type { ReactNode } from "react";
import { Link, useSearch } from "wouter";
import { duration } from "../lib/format.ts";
import { Age } from "../ui/Age.tsx";
import { Icon } from "../ui/Icon.tsx";
import { StatusDot } from "../ui/StatusDot.tsx";
import css from "./HostHeader.module.css";
import { linkWords, neighbours, statusTone, usageWords } from "./header.ts";
import { useHostMetrics } from "./useHostMetrics.ts";

interface HostHeaderProps {
  readonly host: string;
  /** Undefined while the roster is not known. */
  readonly status: HostStatus | undefined;
  /** All hosts' names. */
  readonly hosts: readonly string[];
}

export function HostHeader({ host, status, hosts }: HostHeaderProps) {
  const [previous, next] = neighbours(hosts, host);
  return (
    <header className={css["header"]}>
      <nav className={css["crumbs"]} aria-label="Breadcrumb">
        <Link href="/">Fleet</Link>
        <span aria-hidden="true">/</span>
        <span aria-current="page">{host}</span>
        <span className={css["neighbours"]}>
          <Neighbour host={previous} way="previous" />
          <Neighbour host={next} way="next" />
        </span>
      </nav>
      <div className={css["title"]}>
        <h1 tabIndex={-1}>{host}</h1>
        {status && <StatusDot tone={statusTone(status)}>{status.status}</StatusDot>}
        {status && status.status !== "live" && (
          <span className="muted">
            last seen <Age at={status.lastSeenAt} />
          </span>
        )}
        {status && Object.keys(status.labels).length > 0 && (
          <ul className={css["labels"]} aria-label="Labels">
            {Object.entries(status.labels).map(([name, value]) => (
              <li key={name}>
                <span className="muted">{name}</span> {value}
              </li>
            ))}
          </ul>
        )}
      </div>
      <Facts host={host} status={status} />
    </header>
  );
}

function Facts({ host, status }: { readonly host: string; readonly status: HostStatus | undefined }) {
  const { metrics, fresh, stale } = useHostMetrics(host);
  const data = metrics?.data;
  const usage = usageWords(status?.usage);
  return (
    <>
      <dl className={css["facts"]}>
        {status &&
          linkWords(status).map(({ name, tone, words }) => (
            <Fact key={name} name={name}>
              <StatusDot tone={tone}>{words}</StatusDot>
            </Fact>
          ))}
        <Fact name="Uptime" stale={stale}>
          {duration(data === undefined ? null : Math.floor(data.uptimeSec / 60) * 60_000)}
        </Fact>
        <Fact name="Load 1, 5, 15 min" stale={stale}>
          {data?.cpu.load.map((load) => load.toFixed(2)).join(" · ") ?? "–"}
        </Fact>
        <Fact name="Cores" stale={stale}>
          {data?.cpu.cores ?? "–"}
        </Fact>
        <Fact name="Processes" stale={stale}>
          {data?.processes ?? "–"}
        </Fact>
        {usage && <Fact name="Containers' usage">{usage}</Fact>}
      </dl>
      {stale && fresh.reason && (
        <p className={css["stale"]}>
          <Icon name="alert" />
          <span>
            {metrics === null ? (
              "No values"
            ) : (
              <>
                The last values came <Age at={metrics.sampledAt} />
              </>
            )}
            : <span role="status">{fresh.reason}</span>.
          </span>
        </p>
      )}
    </>
  );
}

interface FactProps {
  readonly name: string;
  readonly stale?: boolean;
  readonly children: ReactNode;
}

function Fact({ name, stale = false, children }: FactProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd data-stale={stale}>{children}</dd>
    </div>
  );
}

interface NeighbourProps {
  readonly host: string | null;
  readonly way: "previous" | "next";
}

/** It keeps the range, and leaves the container behind. */
function Neighbour({ host, way }: NeighbourProps) {
  const range = new URLSearchParams(useSearch()).get("range");
  if (host === null) return null;
  const query = range === null ? "" : `?range=${range}`;
  return (
    <Link
      href={`/hosts/${encodeURIComponent(host)}${query}`}
      aria-label={`${way} host: ${host}`}
      title={host}
      data-way={way}
    >
      <Icon name="chevron-right" size={14} />
      <span>{way}</span>
    </Link>
  );
}
