import { SearchField } from "../ui/SearchField.tsx";
import { Segmented } from "../ui/Segmented.tsx";
import { type Option, Select } from "../ui/Select.tsx";
import css from "./FleetView.module.css";
import type { FleetQuery, Sort } from "./query.ts";

interface FleetToolbarProps {
  readonly query: FleetQuery;
  readonly change: (change: Partial<FleetQuery>) => void;
  /** What hosts may be grouped by. */
  readonly labels: readonly string[];
}

const SORT_OPTIONS: readonly Option<Sort>[] = [
  { value: "trouble", label: "Trouble first" },
  { value: "name", label: "By name" },
  { value: "cpu", label: "Most CPU" },
  { value: "memory", label: "Most memory" },
  { value: "network", label: "Most network" },
];

const SHOW_OPTIONS: readonly Option<FleetQuery["show"]>[] = [
  { value: "all", label: "All" },
  { value: "trouble", label: "In trouble" },
];

const VIEW_OPTIONS: readonly Option<FleetQuery["view"]>[] = [
  { value: "tiles", label: "Tiles" },
  { value: "rows", label: "Rows" },
];

export function FleetToolbar({ query, change, labels }: FleetToolbarProps) {
  // A label of the URL that no host has (any more) is still what the hosts are grouped by.
  const known = query.groupBy === null || labels.includes(query.groupBy) ? labels : [...labels, query.groupBy];
  const groupOptions = [
    { value: "", label: "Not grouped" },
    ...known.map((label) => ({ value: label, label: `By ${label}` })),
  ];
  return (
    <div className={css.toolbar}>
      <SearchField
        label="Search hosts"
        placeholder="Name or label"
        shortcut="/"
        value={query.search}
        onChange={(search) => change({ search })}
      />
      <Segmented label="Which hosts" value={query.show} options={SHOW_OPTIONS} onChange={(show) => change({ show })} />
      <Select label="Sort hosts" value={query.sort} options={SORT_OPTIONS} onChange={(sort) => change({ sort })} />
      {groupOptions.length > 1 && (
        <Select
          label="Group hosts"
          value={query.groupBy ?? ""}
          options={groupOptions}
          onChange={(label) => change({ groupBy: label || null })}
        />
      )}
      <Segmented label="Density" value={query.view} options={VIEW_OPTIONS} onChange={(view) => change({ view })} />
    </div>
  );
}
