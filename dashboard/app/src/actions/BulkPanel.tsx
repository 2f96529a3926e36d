import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import css from "./BulkPanel.module.css";
import { type Bulk, bulksOf } from "./outcomes.ts";
import { Stage } from "./Stage.tsx";
import { actionStore, useRecentActions } from "./store.ts";

/** More than so many at once would cover the page; the others come when these are put away. */
const SHOWN = 2;

/** What was asked for several containers at once: each one's own outcome. */
export function BulkPanel() {
  const bulks = bulksOf(useRecentActions()).slice(0, SHOWN);
  if (bulks.length === 0) return null;
  return (
    <div className={css.panels}>
      {bulks.map((bulk) => (
        <Panel key={bulk.id} bulk={bulk} />
      ))}
    </div>
  );
}

function Panel({ bulk }: { readonly bulk: Bulk }) {
  return (
    <section className={css.panel} aria-label={bulk.title}>
      <header className={css.head}>
        <div>
          <h2>{bulk.title}</h2>
          <p className={css.summary}>{bulk.summary}</p>
        </div>
        <Button
          variant="ghost"
          size="s"
          icon={<Icon name="cross" />}
          aria-label={bulk.done ? "Dismiss" : "Hide: bad news brings it back"}
          onClick={() => actionStore.dismiss(bulk.actions.map(({ key }) => key))}
        />
      </header>
      <progress className={css.progress} max={bulk.actions.length} value={bulk.finished} aria-label="Finished" />
      <ul className={css.list}>
        {bulk.actions.map((action) => (
          <li key={action.key} className={css.item}>
            <span className={css.name} title={`${action.name} on ${action.host}`}>
              {action.name} <span className="muted">{action.host}</span>
            </span>
            <Stage action={action} />
          </li>
        ))}
      </ul>
    </section>
  );
}
