import { type RefObject, useEffect, useState } from "react";

/** Whether an element is on the screen, or nearly: what is not there need not be drawn. */
export function useOnScreen(element: RefObject<HTMLElement | null>, marginPx = 200): boolean {
  const [onScreen, setOnScreen] = useState(false);
  useEffect(() => {
    if (element.current === null) return;
    const observer = new IntersectionObserver((entries) => setOnScreen(entries.at(-1)?.isIntersecting ?? false), {
      rootMargin: `${marginPx}px`,
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element, marginPx]);
  return onScreen;
}
