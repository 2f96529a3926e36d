import { useLayoutEffect, useState } from "react";

export interface Box {
  /** 0 while it is not known. */
  readonly width: number;
  /** From the page's top. */
  readonly top: number;
}

const UNKNOWN: Box = { width: 0, top: 0 };

/** Where an element stands: measured when it or the page changes its size, and never while it is scrolled. */
export function useBox(element: Element | null): Box {
  const [box, setBox] = useState(UNKNOWN);
  useLayoutEffect(() => {
    if (element === null) return;
    const measure = () => {
      const { width, top } = element.getBoundingClientRect();
      const next = { width, top: top + window.scrollY };
      setBox((box) => (box.width === next.width && Math.abs(box.top - next.top) < 0.5 ? box : next));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, [element]);
  return box;
}
