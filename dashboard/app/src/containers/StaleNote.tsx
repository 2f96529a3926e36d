import { Fragment } from "react";
import { Age } from "../ui/Age.tsx";
import { Icon } from "../ui/Icon.tsx";
import css from "./ContainerTable.module.css";
import { byName } from "./group.ts";
import type { Messages } from "./rows.ts";
import type { Stale } from "./useStale.ts";

const NAMED = 3;

/** Which hosts' rows are not known to be so any more, why, and how old they are. */
export function StaleNote({ stale, messages }: { readonly stale: Stale; readonly messages: Messages }) {
  if (stale.size === 0) return null;
  const names = [...stale.keys()].toSorted(byName);
  const [reason] = stale.values();
  const all = names.length > 1 && names.length === Object.keys(messages).length && new Set(stale.values()).size === 1;
  const oldest = Math.min(...names.map((name) => messages[name]?.sampledAt ?? Number.POSITIVE_INFINITY));
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return (
    <p className={css.note}>
      <Icon name="alert" size={14} />
      <span role="status">
        {all ? `As last seen, for ${reason}: ` : "As last seen: "}
        {!all &&
          names.slice(0, NAMED).map((name, index) => (
            <Fragment key={name}>
              {index > 0 && ", "}
              {name} ({stale.get(name)})
            </Fragment>
          ))}
        {more !== "" && !all && more}
        {!all && ", "}
      </span>
      {/* Beside what is spoken: it changes each second. */}
      <span>
        <Age at={Number.isFinite(oldest) ? oldest : null} />.
      </span>
    </p>
  );
}
