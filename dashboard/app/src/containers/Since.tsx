import { useNow } from "../lib/clock.ts";
import { dateTime, duration } from "../lib/format.ts";

/** How long it is so, by itself up to date, in seconds at least. `at`: ms. */
export function Since({ at }: { readonly at: number }) {
  const now = useNow();
  return (
    <time dateTime={new Date(at).toISOString()} title={`since ${dateTime(at)}`}>
      {duration(Math.max(1000, now - at))}
    </time>
  );
}
