import type { Container } from "@fleetcast/client";
import { useMemo } from "react";
import type { Verb } from "../lib/verbs.ts";
import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu } from "../ui/Menu.tsx";
import css from "./ActionButtons.module.css";
import { menuItems } from "./menu.ts";
import { Stage } from "./Stage.tsx";
import { useActionsOf } from "./store.ts";
import { useAct } from "./useAct.ts";
import { useMay } from "./useMay.ts";
import { type Chosen, toggleOf, VERB_ICON, VERB_LABEL } from "./verb.ts";

interface ActionButtonsProps {
  readonly host: string;
  readonly container: Container;
}

/** The verbs for one container, and in place, in a whole sentence, where its last action stands. */
export function ActionButtons({ host, container }: ActionButtonsProps) {
  const act = useAct();
  const may = useMay();
  const shown = useActionsOf(host, container.id).find((action) => !action.dismissed);
  const chosen = useMemo((): Chosen => ({ host, container }), [host, container]);
  const direct: readonly Verb[] = [toggleOf(container), "restart"];
  return (
    <div className={css.full}>
      <span className={css.buttons}>
        {direct.map((verb, index) => {
          const answer = may(verb, chosen);
          return (
            <Button
              // By place and not by verb: where stop turns into start, the focus stays.
              key={index === 0 ? "toggle" : verb}
              icon={<Icon name={VERB_ICON[verb]} />}
              onClick={() => act(verb, [chosen])}
              disabledReason={answer.enabled ? undefined : answer.reason}
            >
              {VERB_LABEL[verb]}
            </Button>
          );
        })}
        <Menu
          label={`Actions on ${container.name}`}
          trigger={<Button variant="ghost" icon={<Icon name="more" />} aria-label="More actions" />}
          items={menuItems(chosen, may, act, direct)}
        />
      </span>
      {shown && <Stage action={shown} full />}
    </div>
  );
}
