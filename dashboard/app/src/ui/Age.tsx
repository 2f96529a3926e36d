import { useNow } from "../lib/clock.ts";
import { age, dateTime } from "../lib/format.ts";

/** How long ago, by itself up to date: what is around it does not render again. `at`: ms on Redis' clock. */
export function Age({ at }: { readonly at: number | null }) {
  const now = useNow();
  if (at === null) return <span>–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={dateTime(at)}>
      {age(now - at)}
    </time>
  );
}
