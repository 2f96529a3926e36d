import { Link } from "wouter";
import { clockTime, dateTime } from "../lib/format.ts";
import { classes } from "../ui/classes.ts";
import { Icon } from "../ui/Icon.tsx";
import { StatusDot } from "../ui/StatusDot.tsx";
import css from "./EntryRow.module.css";
import type { Entry } from "./entries.ts";

interface EntryRowProps {
  readonly entry: Entry;
  /** Whether hour and minute stand out: where the row above says others. */
  readonly opensMinute: boolean;
  /** Where all are of one host, it need not be said. */
  readonly withHost: boolean;
}

export function EntryRow({ entry, opensMinute, withHost }: EntryRowProps) {
  const { at, host, name, words, actor, detail } = entry;
  const time = clockTime(at);
  return (
    <div className={classes(css.row, withHost && css.withHost)}>
      <time className={css.time} dateTime={new Date(at).toISOString()} title={dateTime(at)}>
        {opensMinute ? <span className={css.minute}>{time.slice(0, 5)}</span> : time.slice(0, 5)}
        {time.slice(5)}
      </time>
      <span className={css.dot}>
        <StatusDot tone={words.tone} />
      </span>
      <span className={css.who}>
        <Link className={css.name} href={`/containers?${new URLSearchParams({ host, q: name })}`} title={name}>
          {name}
        </Link>
        {withHost && (
          <>
            <span className="visually-hidden"> on </span>
            <Link className={css.host} href={`/hosts/${encodeURIComponent(host)}`} title={host}>
              {host}
            </Link>
          </>
        )}
      </span>
      <span className={css.what} data-tone={words.tone}>
        {words.text}
        {detail && <span className={css.detail}> {detail}</span>}
      </span>
      {actor === null ? (
        <span
          className={css.cause}
          title="No action of this fleet: the container itself, its restart policy, or somebody at the engine"
        >
          Docker
        </span>
      ) : (
        <span className={css.actor} title={actor}>
          <Icon name="user" size={13} />
          <span className="truncate">{actor}</span>
        </span>
      )}
    </div>
  );
}
