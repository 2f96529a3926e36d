import { type KeyboardEvent, type RefObject, useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import type { Act } from "../actions/useAct.ts";
import type { May } from "../actions/useMay.ts";
import { toggleOf } from "../actions/verb.ts";
import type { Verb } from "../lib/verbs.ts";
import type { Item } from "./group.ts";
import { commandOf, type RowCommand } from "./keys.ts";
import { hrefOf, type Row } from "./rows.ts";
import type { Selection } from "./useSelection.ts";

interface RowKeysOptions {
  readonly items: readonly Item[];
  readonly listed: readonly Row[];
  readonly selection: Selection;
  readonly grid: RefObject<HTMLElement | null>;
  readonly active: number;
  readonly setActive: (key: string) => void;
  readonly scrollTo: (index: number) => void;
  readonly onCollapse: (name: string, collapsed: boolean) => void;
  readonly may: May;
  readonly act: Act;
}

/** So long it stands there why a key did nothing. */
const SAID_MS = 5000;

/** The keyboard on rows: where it moves, what it does, and in words why it did not. */
export function useRowKeys(options: RowKeysOptions) {
  const { items, listed, selection, grid, active, setActive, scrollTo, onCollapse, may, act } = options;
  const [, navigate] = useLocation();
  const [said, setSaid] = useState<string | null>(null);
  const focusNext = useRef(false);

  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => setSaid(null), SAID_MS);
    return () => clearTimeout(timer);
  }, [said]);

  useEffect(() => {
    const key = items[active]?.key;
    if (!focusNext.current || key === undefined) return;
    focusNext.current = false;
    rowOf(grid.current, key)?.focus({ preventScroll: true });
  });

  const attempt = (row: Row, verb: Verb) => {
    const answer = may(verb, row);
    if (answer.enabled) act(verb, [row]);
    else setSaid(`${verb} ${row.container.name}: ${answer.reason}`);
  };

  const onItem = (item: Item, command: Exclude<RowCommand, { kind: "move" | "all" | "clear" }>) => {
    if (item.kind === "group") {
      const { group, collapsed } = item;
      const chosen = group.rows.filter((row) => selection.keys.has(row.key)).length;
      if (command.kind === "toggle") selection.setAll(group.rows, chosen < group.rows.length);
      else if (command.kind === "open") onCollapse(group.name, !collapsed);
      else if (command.kind === "fold") onCollapse(group.name, command.collapsed);
      return;
    }
    const { row } = item;
    if (command.kind === "open") navigate(hrefOf(row));
    if (row.goneAt !== null) return;
    if (command.kind === "toggle") selection.toggle(row.key, false);
    else if (command.kind === "restart") attempt(row, "restart");
    else if (command.kind === "start-stop") attempt(row, toggleOf(row.container));
    else if (command.kind === "menu") openMenu(rowOf(grid.current, row.key));
  };

  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const target = event.target as HTMLElement;
    // React brings keys from menus and dialogs too, which stand elsewhere in the page.
    if (event.defaultPrevented || !event.currentTarget.contains(target)) return;
    const element = target.closest<HTMLElement>("[data-key]");
    const at = items.findIndex((item) => item.key === element?.dataset["key"]);
    const item = items[at];
    if (item === undefined) return;
    const command = commandOf(event, at, items.length, target === element);
    if (command === null || (command.kind === "clear" && selection.rows.length === 0)) return;
    event.preventDefault();
    if (command.kind === "clear") selection.clear();
    else if (command.kind === "all") selection.setAll(listed, true);
    else if (command.kind === "move") {
      const next = items[command.to];
      if (next === undefined) return;
      focusNext.current = true;
      setActive(next.key);
      scrollTo(command.to);
      if (command.extend) selection.setAll(rowsOf(item, next), true);
    } else onItem(item, command);
  };

  return { onKeyDown, said, say: setSaid };
}

function rowsOf(...items: readonly Item[]): readonly Row[] {
  return items.flatMap((item) => (item.kind === "row" ? [item.row] : []));
}

function rowOf(grid: HTMLElement | null, key: string): HTMLElement | null {
  return grid?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`) ?? null;
}

/** As Enter on the menu's button does. */
function openMenu(row: HTMLElement | null): void {
  const button = row?.querySelector<HTMLElement>("[aria-haspopup=menu]");
  button?.focus();
  button?.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
}
