import { memo } from "react";
import { Icon } from "../ui/Icon.tsx";
import { StatusDot, type Tone } from "../ui/StatusDot.tsx";
import { Cell, Line } from "./Cells.tsx";
import { type Group, type GroupBy, type Summary, summaryOf } from "./group.ts";
import css from "./Row.module.css";
import type { Row } from "./rows.ts";

interface GroupRowProps {
  readonly group: Group;
  readonly by: GroupBy;
  readonly rowIndex: number;
  readonly collapsed: boolean;
  readonly active: boolean;
  readonly selected: ReadonlySet<string>;
  readonly onCollapse: (name: string, collapsed: boolean) => void;
  readonly onSelect: (rows: readonly Row[], selected: boolean) => void;
}

/** A project or a host, how its containers are, and all of them to select at once. */
export const GroupRow = memo(function GroupRow(props: GroupRowProps) {
  const { group, by, collapsed, active, selected } = props;
  const name = group.name || "No project";
  const count = group.rows.filter((row) => selected.has(row.key)).length;
  const summary = summaryOf(group.rows);
  const tabIndex = active ? 0 : -1;
  return (
    <Line
      className={css.group}
      rowIndex={props.rowIndex}
      tabIndex={tabIndex}
      data={{ "data-key": `group ${group.name}` }}
    >
      <Cell>
        <CheckAll
          label={`Select all ${summary.total} of ${name}`}
          count={count}
          of={summary.total}
          tabIndex={tabIndex}
          onChange={(all) => props.onSelect(group.rows, all)}
        />
      </Cell>
      <Cell className={css.groupName}>
        <button
          type="button"
          tabIndex={tabIndex}
          aria-expanded={!collapsed}
          onClick={() => props.onCollapse(group.name, !collapsed)}
        >
          <Icon name={collapsed ? "chevron-right" : "chevron-down"} size={14} />
          <span className={group.name === "" ? "muted" : undefined}>{name}</span>
        </button>
        <span className={css.counts}>
          <Counts summary={summary} withHosts={by !== "host"} />
        </span>
      </Cell>
    </Line>
  );
});

interface CheckAllProps {
  readonly label: string;
  readonly count: number;
  readonly of: number;
  readonly tabIndex?: 0 | -1;
  readonly onChange: (all: boolean) => void;
}

/** Half checked where some are. */
export function CheckAll({ label, count, of, tabIndex = 0, onChange }: CheckAllProps) {
  return (
    <label className={css.check}>
      <input
        type="checkbox"
        aria-label={label}
        ref={(input) => {
          if (input) input.indeterminate = count > 0 && count < of;
        }}
        checked={of > 0 && count === of}
        tabIndex={tabIndex}
        onChange={() => onChange(count < of)}
      />
    </label>
  );
}

/** "20 on 4 hosts · 18 running · 1 unhealthy". */
export function Counts({ summary, withHosts }: { readonly summary: Summary; readonly withHosts: boolean }) {
  const parts: readonly (readonly [number, string, Tone])[] = [
    [summary.running, "running", "ok"],
    [summary.unhealthy, "unhealthy", "bad"],
    [summary.failed, "failed", "bad"],
    [summary.starting, "starting", "warn"],
    [summary.paused, "paused", "warn"],
    [summary.stopped, "stopped", "muted"],
  ];
  return (
    <>
      <span className={css.total}>
        {summary.total}
        {withHosts && summary.hosts > 1 && ` on ${summary.hosts} hosts`}
      </span>
      {parts
        .filter(([count]) => count > 0)
        .map(([count, word, tone]) => (
          <StatusDot key={word} tone={tone}>
            {count} {word}
          </StatusDot>
        ))}
    </>
  );
}
