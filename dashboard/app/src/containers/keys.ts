/** What a key on a row means. Pure. */

export type RowCommand =
  | { readonly kind: "move"; readonly to: number; readonly extend: boolean }
  | { readonly kind: "toggle" }
  | { readonly kind: "open" }
  | { readonly kind: "restart" }
  | { readonly kind: "start-stop" }
  | { readonly kind: "menu" }
  | { readonly kind: "all" }
  | { readonly kind: "fold"; readonly collapsed: boolean }
  | { readonly kind: "clear" };

export interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
}

const PAGE = 12;

/** `onRow`: the row itself has the focus, not something in it. Null: not for us. */
export function commandOf(press: KeyPress, at: number, count: number, onRow: boolean): RowCommand | null {
  const { key, shiftKey } = press;
  if (press.altKey) return null;
  if (press.ctrlKey || press.metaKey) return key === "a" && onRow ? { kind: "all" } : null;
  const move = (to: number): RowCommand => ({
    kind: "move",
    to: Math.min(count - 1, Math.max(0, to)),
    extend: shiftKey,
  });
  switch (key) {
    case "ArrowDown":
      return move(at + 1);
    case "ArrowUp":
      return move(at - 1);
    case "PageDown":
      return move(at + PAGE);
    case "PageUp":
      return move(at - PAGE);
    case "Home":
      return move(0);
    case "End":
      return move(count - 1);
    case "ArrowRight":
      return onRow ? { kind: "fold", collapsed: false } : null;
    case "ArrowLeft":
      return onRow ? { kind: "fold", collapsed: true } : null;
    case " ":
      return onRow ? { kind: "toggle" } : null;
    case "Enter":
      return onRow ? { kind: "open" } : null;
    case "Escape":
      return { kind: "clear" };
    case "r":
      return { kind: "restart" };
    case "s":
      return { kind: "start-stop" };
    case "m":
      return { kind: "menu" };
    default:
      return null;
  }
}
