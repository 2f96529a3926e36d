import { useHosts } from "@fleetcast/client/react";
import type { ReactNode } from "react";
import { SearchField } from "../ui/SearchField.tsx";
import { Segmented } from "../ui/Segmented.tsx";
import { Select } from "../ui/Select.tsx";
import type { HealthFilter, StateFilter } from "./filter.ts";
import { byName, type GroupBy } from "./group.ts";
import { SORT_KEYS, type SortKey } from "./sort.ts";
import css from "./Toolbar.module.css";
import type { View } from "./view.ts";

const STATES: readonly { readonly value: StateFilter; readonly label: string }[] = [
  { value: "all", label: "Any state" },
  { value: "running", label: "Running" },
  { value: "stopped", label: "Stopped" },
  { value: "paused", label: "Paused" },
  { value: "restarting", label: "Restarting" },
];

const HEALTHS: readonly { readonly value: HealthFilter; readonly label: string }[] = [
  { value: "all", label: "Any health" },
  { value: "unhealthy", label: "Unhealthy" },
  { value: "starting", label: "Starting" },
  { value: "healthy", label: "Healthy" },
  { value: "none", label: "No health check" },
];

const SORTS: Readonly<Record<SortKey, string>> = {
  name: "name",
  host: "host",
  image: "image",
  health: "health",
  status: "status",
  ports: "ports",
  cpu: "CPU",
  memory: "memory",
  restarts: "restarts",
};

interface ToolbarProps {
  readonly view: View;
  readonly onChange: (change: Partial<View>) => void;
  /** Whether all hosts are to choose from. */
  readonly allHosts: boolean;
  readonly withSearch: boolean;
  /** Cards have no headers to sort by. */
  readonly withSort: boolean;
  /** What is listed, in a few words. */
  readonly children?: ReactNode;
}

export function Toolbar({ view, onChange, allHosts, withSearch, withSort, children }: ToolbarProps) {
  return (
    <search className={css.toolbar} aria-label="Containers">
      {withSearch && (
        <SearchField
          label="Search containers"
          placeholder="Name, image, project, id, label"
          shortcut="/"
          value={view.query}
          onChange={(query) => onChange({ query })}
        />
      )}
      <Select label="State" value={view.state} options={STATES} onChange={(state) => onChange({ state })} />
      <Select label="Health" value={view.health} options={HEALTHS} onChange={(health) => onChange({ health })} />
      {allHosts && <HostSelect host={view.host} onChange={(host) => onChange({ host })} />}
      {withSort && (
        <Select
          label="Sort"
          value={view.sort}
          options={SORT_KEYS.map((value) => ({ value, label: `By ${SORTS[value]}` }))}
          onChange={(sort) =>
            onChange({ sort, descending: sort === "cpu" || sort === "memory" || sort === "restarts" })
          }
        />
      )}
      <span className={css.summary}>{children}</span>
      <Segmented<GroupBy>
        label="Group by"
        value={view.group}
        options={[
          { value: "project", label: "Projects" },
          ...(allHosts ? [{ value: "host" as const, label: "Hosts" }] : []),
          { value: "none", label: "Flat" },
        ]}
        onChange={(group) => onChange({ group })}
      />
    </search>
  );
}

interface HostSelectProps {
  readonly host: string | null;
  readonly onChange: (host: string | null) => void;
}

function HostSelect({ host, onChange }: HostSelectProps) {
  const known = (useHosts().data?.hosts ?? []).map((one) => one.host);
  // One that the URL names stands there even while nobody has seen it.
  const names = host === null || known.includes(host) ? known : [...known, host];
  const options = [
    { value: "", label: "All hosts" },
    ...names.toSorted(byName).map((name) => ({ value: name, label: name })),
  ];
  return <Select label="Host" value={host ?? ""} options={options} onChange={(value) => onChange(value || null)} />;
}
