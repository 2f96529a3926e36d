import type { ReactNode } from "react";
import css from "./StatusDot.module.css";

export type Tone = "ok" | "warn" | "bad" | "muted";

/** A dot in the status' colour, and its word beside it: colour is never all that says it. */
export function StatusDot({ tone, children }: { readonly tone: Tone; readonly children?: ReactNode }) {
  return (
    <span className={css.status} data-tone={tone}>
      <span className={css.dot} aria-hidden="true" />
      {children !== undefined && <span className={css.word}>{children}</span>}
    </span>
  );
}
