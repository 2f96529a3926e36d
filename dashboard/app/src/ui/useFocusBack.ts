import { useLayoutEffect } from "react";

/** A dialog that is opened by state has no button that it would give the focus back to: whoever had it gets it again. */
export function useFocusBack(open: boolean): void {
  useLayoutEffect(() => {
    if (!open) return;
    const before = asker();
    return () => {
      setTimeout(() => {
        if (before?.isConnected && document.activeElement === document.body) before.focus({ preventScroll: true });
      });
    };
  }, [open]);
}

/** Of an item of a menu, which is about to close: the menu's button. */
function asker(): HTMLElement | null {
  const active = document.activeElement;
  const menu = active?.closest("[role=menu]");
  if (menu) return document.getElementById(menu.getAttribute("aria-labelledby") ?? "");
  return active instanceof HTMLElement ? active : null;
}
