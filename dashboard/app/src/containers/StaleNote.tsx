import { Icon } from "../ui/Icon.tsx";
import css from "./ContainerTable.module.css";
import { byName } from "./group.ts";
import type { Stale } from "./useStale.ts";

const NAMED = 3;

/** Which hosts' rows are not known to be so any more, and why. */
export function StaleNote({ stale, of }: { readonly stale: Stale; readonly of: number }) {
  if (stale.size === 0) return null;
  const reasons = new Set(stale.values());
  const names = [...stale.keys()].toSorted(byName);
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  const [reason] = reasons;
  return (
    <p className={css.note} role="status">
      <Icon name="alert" size={14} />
      <span>
        {stale.size === of && reasons.size === 1 && of > 1
          ? `As last seen, for ${reason}.`
          : `As last seen: ${names
              .slice(0, NAMED)
              .map((name) => `${name} (${stale.get(name)})`)
              .join(", ")}${more}.`}
      </span>
    </p>
  );
}
