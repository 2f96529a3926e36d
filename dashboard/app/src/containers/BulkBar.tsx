import { useMemo, useSyncExternalStore } from "react";
import { offers, whyLeftOut } from "../actions/offers.ts";
import { actionStore } from "../actions/store.ts";
import { useAct } from "../actions/useAct.ts";
import { useMay } from "../actions/useMay.ts";
import { isDangerous, VERB_LABEL } from "../actions/verb.ts";
import { Button } from "../ui/Button.tsx";
import { Tooltip } from "../ui/Tooltip.tsx";
import css from "./BulkBar.module.css";
import type { Row } from "./rows.ts";

interface BulkBarProps {
  readonly rows: readonly Row[];
  readonly onClear: () => void;
}

/** What can be done to all that is selected, with how many of them can take it. */
export function BulkBar({ rows, onClear }: BulkBarProps) {
  const act = useAct();
  const may = useMay();
  const recent = useSyncExternalStore(actionStore.subscribe, actionStore.recent);
  const offered = useMemo(() => {
    void recent; // what is under way is not offered
    return offers(rows, may);
  }, [rows, may, recent]);
  const hosts = new Set(rows.map((row) => row.host)).size;
  return (
    <section className={css.bar} aria-label="Selected containers" data-bulk-bar="">
      <p className={css.count}>
        <strong>{rows.length} selected</strong>
        {hosts > 1 && <span className="muted"> on {hosts} hosts</span>}
      </p>
      {offered.map(({ verb, able, leftOut }) => {
        const some = able.length > 0 && leftOut.length > 0;
        const button = (
          <Button
            key={verb}
            onClick={() => act(verb, able, leftOut)}
            disabledReason={able.length === 0 ? whyLeftOut(leftOut) : undefined}
          >
            {VERB_LABEL[verb]}
            {some && ` ${able.length}`}
            {isDangerous(verb) && "…"}
          </Button>
        );
        if (!some) return button;
        return (
          <Tooltip key={verb} content={`Left out: ${whyLeftOut(leftOut)}`}>
            {button}
          </Tooltip>
        );
      })}
      <Button variant="ghost" onClick={onClear}>
        Clear
      </Button>
    </section>
  );
}
