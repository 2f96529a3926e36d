import { DropdownMenu as Radix } from "radix-ui";
import type { ReactElement } from "react";
import { classes } from "./classes.ts";
import css from "./Menu.module.css";

export interface MenuItem {
  readonly label: string;
  readonly onSelect: () => void;
  readonly danger?: boolean;
  /** Why it cannot be chosen now; shown below its label. */
  readonly disabledReason?: string | undefined;
  readonly shortcut?: string;
}

interface MenuProps {
  /** One button. */
  readonly trigger: ReactElement;
  readonly items: readonly MenuItem[];
  /** For screen readers, where the trigger does not say it. */
  readonly label?: string;
}

export function Menu({ trigger, items, label }: MenuProps) {
  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          className={css.menu}
          align="end"
          sideOffset={4}
          collisionPadding={8}
          {...(label ? { "aria-label": label } : {})}
        >
          {items.map((item) => (
            <Radix.Item
              key={item.label}
              className={classes(css.item, item.danger && css.danger)}
              aria-disabled={item.disabledReason !== undefined}
              onSelect={(event) => (item.disabledReason === undefined ? item.onSelect() : event.preventDefault())}
            >
              <span>
                {item.label}
                {item.disabledReason && <span className={css.reason}>{item.disabledReason}</span>}
              </span>
              {item.shortcut && <kbd className={css.key}>{item.shortcut}</kbd>}
            </Radix.Item>
          ))}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
