import { useEffect, useRef, useState } from "react";
import { announce } from "./outcomes.ts";
import { useRecentActions } from "./store.ts";

/** What comes to its end within so long is told together. */
const GATHER_MS = 400;

/** Outcomes for screen readers, when they have a moment. */
export function Announcer() {
  const recent = useRecentActions();
  const told = useRef<ReadonlySet<string>>(new Set());
  const [text, setText] = useState("");
  useEffect(() => {
    if (announce(recent, told.current) === null) return;
    const timer = setTimeout(() => {
      const news = announce(recent, told.current);
      if (news === null) return;
      // Only what is still kept can come up again.
      const kept = new Set(recent.flatMap(({ key, bulk }) => (bulk === null ? [key] : [bulk])));
      told.current = new Set([...[...told.current].filter((id) => kept.has(id)), ...news.told]);
      setText(news.text);
    }, GATHER_MS);
    return () => clearTimeout(timer);
  }, [recent]);
  return (
    <div className="visually-hidden" role="status" aria-live="polite">
      {text}
    </div>
  );
}
