import { type RefObject, useEffect, useRef } from "react";

/** After a change of page: to its top, with the focus on its heading, so that the keyboard and a screen reader are there. */
export function useFocusOnArrival(path: string, main: RefObject<HTMLElement | null>): void {
  const shown = useRef(path);
  useEffect(() => {
    const place = main.current;
    if (shown.current === path || place === null) return;
    shown.current = path;
    window.scrollTo(0, 0);
    if (focusHeading(place)) return;
    place.focus({ preventScroll: true });
    // Its code may still be on its way: the heading takes over when it comes, unless the focus has moved on by then.
    const observer = new MutationObserver(() => {
      if (document.activeElement !== place || focusHeading(place)) observer.disconnect();
    });
    observer.observe(place, { childList: true, subtree: true });
    return () => observer.disconnect();
  }, [path, main]);
}

/** False where there is none. */
function focusHeading(place: HTMLElement): boolean {
  const heading = place.querySelector<HTMLElement>("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
  return heading !== null;
}
