import { Tooltip as Radix } from "radix-ui";
import type { ReactElement, ReactNode } from "react";
import css from "./Tooltip.module.css";

interface TooltipProps {
  /** Nothing is shown where it is null or empty. */
  readonly content: ReactNode;
  /** One element that takes a ref and can be focused. */
  readonly children: ReactElement;
  readonly side?: "top" | "right" | "bottom" | "left";
}

/** More words on an element, on hover and on focus; they describe it to screen readers too. */
export function Tooltip({ content, children, side = "top" }: TooltipProps) {
  const isEmpty = content === null || content === undefined || content === "" || content === false;
  return (
    // Empty ones too: an element that came and went with its words would lose the focus.
    <Radix.Root delayDuration={350} {...(isEmpty ? { open: false } : {})}>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className={css.tip} side={side} sideOffset={5} collisionPadding={8}>
          {content}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** Around the app: between two neighbours the second tip comes at once. */
export function TooltipProvider({ children }: { readonly children: ReactNode }) {
  return (
    <Radix.Provider delayDuration={350} skipDelayDuration={200}>
      {children}
    </Radix.Provider>
  );
}
