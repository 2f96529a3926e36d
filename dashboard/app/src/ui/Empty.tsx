import type { ReactNode } from "react";
import css from "./Empty.module.css";

/** Where a list has nothing: what that means, and what to do. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className={css.empty}>
      <p className={css.title}>{title}</p>
      {children && <div className={css.more}>{children}</div>}
    </div>
  );
}
