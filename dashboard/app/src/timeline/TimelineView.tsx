import { useHosts } from "@fleetcast/client/react";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useNow } from "../lib/clock.ts";
import { Button } from "../ui/Button.tsx";
import { Empty } from "../ui/Empty.tsx";
import { Icon } from "../ui/Icon.tsx";
import { SearchField } from "../ui/SearchField.tsx";
import { Segmented } from "../ui/Segmented.tsx";
import { Select } from "../ui/Select.tsx";
import { type Filter, filterEntries, rowsOf } from "./entries.ts";
import { Rows } from "./Rows.tsx";
import css from "./TimelineView.module.css";
import { useEntries } from "./useEntries.ts";
import { useFrozen } from "./useFrozen.ts";

const KINDS = [
  { value: "", label: "All" },
  { value: "crash", label: "Crashes" },
  { value: "health", label: "Health" },
  { value: "action", label: "Actions" },
  { value: "lifecycle", label: "Starts and stops" },
] as const;

const HOUR_MS = 3_600_000;

/** What happened on the fleet and why, the newest first. Its filter is in the address, so that it can be passed on. */
export function TimelineView() {
  const [filter, setFilter] = useFilter();
  const { entries, isLoading, error, missing } = useEntries();
  const filtered = useMemo(() => filterEntries(entries, filter), [entries, filter]);
  const { shown, fresh } = useFrozen(filtered);
  const now = useNow(HOUR_MS);
  const rows = useMemo(() => rowsOf(shown, now), [shown, now]);
  const isFiltered = filter.host !== "" || filter.kind !== "" || filter.text !== "";
  return (
    <>
      <div className={css.head}>
        <h1 tabIndex={-1}>Timeline</h1>
        <HostSelect value={filter.host} onChange={(host) => setFilter({ host })} />
        <span className={css.kinds}>
          <Segmented label="Kind" value={filter.kind} options={KINDS} onChange={(kind) => setFilter({ kind })} />
        </span>
        <SearchField
          label="Search the timeline"
          placeholder="Container, actor, words"
          value={filter.text}
          onChange={(text) => setFilter({ text })}
          shortcut="/"
        />
        <span className={css.count} aria-live="off">
          {isFiltered
            ? `${filtered.length} of ${entries.length}`
            : entries.length === 0
              ? ""
              : `the last ${entries.length}`}
        </span>
      </div>
      {missing && <p className={css.missing}>Not in this list: {missing}</p>}
      {fresh > 0 && (
        <div className={css.fresh}>
          <Button
            variant="primary"
            size="s"
            icon={<Icon name="up" size={14} />}
            onClick={() => window.scrollTo({ top: 0 })}
          >
            {fresh} new
          </Button>
        </div>
      )}
      {rows.length > 0 ? (
        <Rows rows={rows} withHost={filter.host === ""} />
      ) : error ? (
        <Empty title="The timeline cannot be loaded">{error.message}. What happens from now on appears here.</Empty>
      ) : isLoading ? (
        <Empty title="Loading…" />
      ) : isFiltered ? (
        <Empty title="Nothing like this has happened lately">
          <Button size="s" onClick={() => setFilter({ host: "", kind: "", text: "" })}>
            Show everything
          </Button>
        </Empty>
      ) : (
        <Empty title="Nothing has happened yet">
          Starts, stops, crashes, health changes and actions appear here live.
        </Empty>
      )}
    </>
  );
}

function HostSelect({ value, onChange }: { readonly value: string; readonly onChange: (host: string) => void }) {
  const names = useHosts().data?.hosts.map(({ host }) => host) ?? [];
  const all = value === "" || names.includes(value) ? names : [value, ...names];
  const options = [{ value: "", label: "All hosts" }, ...all.map((name) => ({ value: name, label: name }))];
  return <Select label="Host" value={value} options={options} onChange={onChange} />;
}

function useFilter(): readonly [Filter, (change: Partial<Filter>) => void] {
  const [params, setParams] = useSearchParams();
  const host = params.get("host") ?? "";
  const kind = KINDS.find(({ value }) => value === params.get("kind"))?.value ?? "";
  const text = params.get("q") ?? "";
  const filter = useMemo(() => ({ host, kind, text }), [host, kind, text]);
  const change = (changed: Partial<Filter>) => {
    const next = { ...filter, ...changed };
    const said = { host: next.host, kind: next.kind, q: next.text };
    setParams(Object.fromEntries(Object.entries(said).filter(([, value]) => value !== "")), { replace: true });
  };
  return [filter, change];
}
