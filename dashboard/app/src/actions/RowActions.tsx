import type { Container } from "@fleetcast/client";
import { useMemo } from "react";
import type { Verb } from "../lib/verbs.ts";
import button from "../ui/Button.module.css";
import { classes } from "../ui/classes.ts";
import { Icon } from "../ui/Icon.tsx";
import { Menu } from "../ui/Menu.tsx";
import css from "./ActionButtons.module.css";
import { menuItems } from "./menu.ts";
import { Stage } from "./Stage.tsx";
import { useActionsOf } from "./store.ts";
import type { Act } from "./useAct.ts";
import type { May } from "./useMay.ts";
import { type Chosen, toggleOf, VERB_ICON, VERB_KEY, VERB_LABEL } from "./verb.ts";

interface RowActionsProps {
  readonly host: string;
  readonly container: Container;
  /** The list's, one for all rows. */
  readonly may: May;
  readonly act: Act;
  /** Says why a button that is off did nothing. */
  readonly onRefused: (why: string) => void;
  /** Everything in the menu, for a narrow row. */
  readonly menuOnly: boolean;
  /** `-1`: out of Tab's way, where another row has the focus. */
  readonly tabIndex: 0 | -1;
}

const NONE: readonly Verb[] = [];

/**
 * What `ActionButtons` is, for one of many rows: as light as it can be, for a list that is scrolled makes dozens of them
 * a second. Its buttons have the platform's own tips.
 */
export function RowActions({ host, container, may, act, onRefused, menuOnly, tabIndex }: RowActionsProps) {
  const shown = useActionsOf(host, container.id).find((action) => !action.dismissed);
  const chosen = useMemo((): Chosen => ({ host, container }), [host, container]);
  const direct: readonly Verb[] = menuOnly ? NONE : [toggleOf(container), "restart"];
  const { name } = container;
  const small = classes(button.button, button.ghost, button.small, button.icon);
  return (
    <div className={css.row}>
      {shown && (
        <span className={css.stage}>
          <Stage action={shown} />
        </span>
      )}
      <span className={css.buttons}>
        {direct.map((verb, index) => {
          const answer = may(verb, chosen);
          const label = `${VERB_LABEL[verb]} ${name}`;
          const off = answer.enabled ? {} : { "aria-disabled": true, "aria-description": answer.reason };
          return (
            <button
              type="button"
              // By place and not by verb: where stop turns into start, the focus stays.
              key={index === 0 ? "toggle" : verb}
              className={small}
              aria-label={label}
              title={answer.enabled ? `${label} (${VERB_KEY[verb]})` : answer.reason}
              tabIndex={tabIndex}
              onClick={() => (answer.enabled ? act(verb, [chosen]) : onRefused(`${label}: ${answer.reason}`))}
              {...off}
            >
              <Icon name={VERB_ICON[verb]} />
            </button>
          );
        })}
        <Menu
          label={`Actions on ${name}`}
          trigger={
            <button
              type="button"
              className={small}
              aria-label={`${menuOnly ? "Actions" : "More actions"} on ${name}`}
              title={`${menuOnly ? "Actions" : "More actions"} (m)`}
              tabIndex={tabIndex}
            >
              <Icon name="more" />
            </button>
          }
          items={menuItems(chosen, may, act, direct)}
        />
      </span>
    </div>
  );
}
