import { Icon, type IconName } from "../ui/Icon.tsx";
import { Tooltip } from "../ui/Tooltip.tsx";
import { explain, type Told } from "./explain.ts";
import css from "./Stage.module.css";
import { actionStore, type Tracked } from "./store.ts";

const ICON: Readonly<Record<Exclude<Told["tone"], "busy">, IconName>> = { ok: "check", bad: "alert", warn: "alert" };

/**
 * Where an action stands, in place. A success goes by itself after a few seconds; anything else stays until it is
 * dismissed. `full`: the whole sentence, where there is room for it.
 */
export function Stage({ action, full = false }: { readonly action: Tracked; readonly full?: boolean }) {
  const told = explain(action);
  const dismissible = told.tone === "bad" || told.tone === "warn";
  return (
    <span className={css.stage} data-tone={told.tone} data-full={full}>
      {told.tone === "busy" ? (
        <span className={css.spinner} aria-hidden="true" />
      ) : (
        <Icon name={ICON[told.tone]} size={13} />
      )}
      {full ? (
        <span className={css.words}>{told.full}</span>
      ) : (
        <Tooltip content={told.full}>
          <button type="button" className={css.words} aria-description={told.full} tabIndex={dismissible ? 0 : -1}>
            {told.short}
          </button>
        </Tooltip>
      )}
      {dismissible && (
        <button
          type="button"
          className={css.dismiss}
          aria-label={`Dismiss: ${told.short}`}
          onClick={() => actionStore.dismiss([action.key])}
        >
          <Icon name="cross" size={11} />
        </button>
      )}
    </span>
  );
}
