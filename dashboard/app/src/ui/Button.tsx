import type { ButtonHTMLAttributes, MouseEvent, ReactNode, Ref } from "react";
import css from "./Button.module.css";
import { classes } from "./classes.ts";
import { Tooltip } from "./Tooltip.tsx";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly variant?: "plain" | "primary" | "danger" | "ghost";
  readonly size?: "s" | "m";
  readonly icon?: ReactNode;
  /** Why it cannot be pressed now: it stays in reach of the keyboard and says so. */
  readonly disabledReason?: string | undefined;
  readonly ref?: Ref<HTMLButtonElement> | undefined;
}

/** A button with an icon alone needs an `aria-label`, which is its tooltip as well. */
export function Button(props: ButtonProps) {
  const { variant = "plain", size = "m", icon, disabledReason, className, children, onClick, ...rest } = props;
  const iconOnly = children === undefined || children === null;
  const click = (event: MouseEvent<HTMLButtonElement>) => {
    if (disabledReason === undefined) onClick?.(event);
    else event.preventDefault();
  };
  const button = (
    <button
      type="button"
      className={classes(css.button, css[variant], size === "s" && css.small, iconOnly && css.icon, className)}
      {...rest}
      {...(disabledReason === undefined ? {} : { "aria-disabled": true, "aria-description": disabledReason })}
      onClick={click}
    >
      {icon}
      {!iconOnly && <span>{children}</span>}
    </button>
  );
  return <Tooltip content={disabledReason ?? (iconOnly ? rest["aria-label"] : null)}>{button}</Tooltip>;
}
