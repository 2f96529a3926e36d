import { type ComponentProps, lazy, Suspense } from "react";
import css from "./Chart.module.css";
import type { Chart } from "./Chart.tsx";

const Loaded = lazy(async () => ({ default: (await import("./Chart.tsx")).Chart }));

/** A Chart in a file of its own, with uPlot: who looks at the fleet does not load it. Its place is kept meanwhile. */
export function LazyChart(props: ComponentProps<typeof Chart>) {
  return (
    <Suspense fallback={<Place title={props.spec.title} />}>
      <Loaded {...props} />
    </Suspense>
  );
}

function Place({ title }: { readonly title: string }) {
  return (
    <div className={css["chart"]}>
      <div className={css["head"]}>
        <h3>{title}</h3>
      </div>
      <div className={css["plot"]} />
    </div>
  );
}
