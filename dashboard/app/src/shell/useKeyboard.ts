import { useEffect } from "react";
import { useLocation } from "wouter";
import { isPlainKey } from "../lib/keys.ts";
import { destinationOf, type Pressed } from "./keyboard.ts";

/** The page's own keys; views and lists have theirs. */
export function useKeyboard(onHelp: () => void): void {
  const [, go] = useLocation();
  useEffect(() => {
    let before: Pressed | null = null;
    const onKey = (event: KeyboardEvent) => {
      if (!isPlainKey(event)) return;
      if (event.key === "?") {
        event.preventDefault();
        onHelp();
        return;
      }
      const pressed = { key: event.key, at: event.timeStamp };
      const path = destinationOf(before, pressed);
      before = path === null ? pressed : null;
      if (path === null) return;
      event.preventDefault();
      go(path);
    };
    // Before a list takes the second key for one of its own.
    document.addEventListener("keydown", onKey, { capture: true });
    return () => document.removeEventListener("keydown", onKey, { capture: true });
  }, [go, onHelp]);
}
