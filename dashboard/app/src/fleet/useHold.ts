import { type PointerEvent, useCallback, useMemo, useRef } from "react";

/** A pointer that lies still is nobody's: it holds the order so long after its last move. */
const POINTER_HOLDS_MS = 10_000;

export interface Hold {
  /** Whether somebody points at what these stand around, or has the focus in it. */
  readonly isHeld: () => boolean;
  readonly props: {
    readonly ref: (element: HTMLElement | null) => void;
    readonly onPointerMove: (event: PointerEvent) => void;
    readonly onPointerLeave: () => void;
  };
}

export function useHold(): Hold {
  const element = useRef<HTMLElement | null>(null);
  const movedAt = useRef(Number.NEGATIVE_INFINITY);
  const isHeld = useCallback(() => {
    const isFocused = element.current?.contains(document.activeElement) ?? false;
    return isFocused || performance.now() - movedAt.current < POINTER_HOLDS_MS;
  }, []);
  return useMemo(
    () => ({
      isHeld,
      props: {
        ref: (found) => {
          element.current = found;
        },
        onPointerMove: () => {
          movedAt.current = performance.now();
        },
        onPointerLeave: () => {
          movedAt.current = Number.NEGATIVE_INFINITY;
        },
      },
    }),
    [isHeld],
  );
}
