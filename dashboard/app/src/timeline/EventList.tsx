import { Link } from "wouter";
import { EntryRow } from "./EntryRow.tsx";
import css from "./EventList.module.css";
import { rowsOf } from "./entries.ts";
import { useEntries } from "./useEntries.ts";

interface EventListProps {
  readonly host: string;
  readonly limit?: number;
}

/** The last things that happened on a host, the newest first. */
export function EventList({ host, limit = 30 }: EventListProps) {
  const { entries, isLoading, error } = useEntries(host);
  const rows = rowsOf(entries.slice(0, limit), entries[0]?.at ?? 0);
  if (rows.length === 0) {
    const why = error
      ? `What happened cannot be loaded: ${error.message}`
      : isLoading
        ? "Loading…"
        : "Nothing has happened yet.";
    return <p className={css.none}>{why}</p>;
  }
  return (
    <div className={css.list}>
      <ul>
        {rows.map((row) =>
          row.type === "day" ? null : (
            <li key={row.key}>
              <EntryRow entry={row.entry} opensMinute={row.opensMinute} withHost={false} />
            </li>
          ),
        )}
      </ul>
      {entries.length > limit && (
        <Link className={css.more} href={`/timeline?${new URLSearchParams({ host })}`}>
          All {entries.length} in the timeline
        </Link>
      )}
    </div>
  );
}
