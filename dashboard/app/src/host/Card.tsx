import type { ReactNode } from "react";
import css from "./Card.module.css";

interface CardProps {
  readonly title: string;
  /** At the right of the title. */
  readonly aside?: ReactNode;
  /** These are not how it is now. */
  readonly stale?: boolean;
  readonly children: ReactNode;
}

export function Card({ title, aside, stale = false, children }: CardProps) {
  return (
    <section className={css["card"]} aria-label={title} data-stale={stale}>
      <div className={css["head"]}>
        <h2>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
