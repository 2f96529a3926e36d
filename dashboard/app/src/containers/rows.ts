/**
 * From messages to rows. Pure. A row keeps its identity while its container is the same, whatever else has changed, so
 * that what is drawn for it need not be drawn again; a container that has vanished stays for a moment and says so.
 */

import type { Container, ContainersMessage } from "@fleetcast/client";

export interface Row {
  /** `<host>/<id>`. */
  readonly key: string;
  readonly host: string;
  readonly container: Container;
  /** When it was found to be gone, ms; null while it is there. */
  readonly goneAt: number | null;
}

export interface RowBook {
  /** By host, then as Docker lists them: the order is for others to make. */
  readonly rows: readonly Row[];
  readonly byHost: ReadonlyMap<string, HostRows>;
}

interface HostRows {
  readonly message: ContainersMessage;
  readonly rows: readonly Row[];
}

export type Messages = Readonly<Record<string, ContainersMessage>>;

/** So long is said of a container that it is gone. */
export const GONE_MS = 4000;
export const EMPTY_BOOK: RowBook = { rows: [], byHost: new Map() };

/** The same book where nothing of it would be drawn differently. */
export function nextBook(before: RowBook, messages: Messages, now: number): RowBook {
  let changed = Object.keys(messages).length !== before.byHost.size;
  const byHost = new Map<string, HostRows>();
  for (const [host, message] of Object.entries(messages)) {
    const known = before.byHost.get(host);
    const rows = nextRows(known, host, message, now);
    changed ||= rows !== known?.rows;
    byHost.set(host, known?.message === message && known.rows === rows ? known : { message, rows });
  }
  if (changed) return { rows: Array.from(byHost.values(), (one) => one.rows).flat(), byHost };
  return { rows: before.rows, byHost };
}

/** When the next of the gone ones is to go, ms; null where none is. */
export function nextLeaving(book: RowBook): number | null {
  const times = book.rows.flatMap((row) => (row.goneAt === null ? [] : [row.goneAt + GONE_MS]));
  return times.length === 0 ? null : Math.min(...times);
}

/** The container's place on its host's page. */
export function hrefOf({ host, container }: Row): string {
  return `/hosts/${encodeURIComponent(host)}?container=${container.id.slice(0, 12)}`;
}

function nextRows(known: HostRows | undefined, host: string, message: ContainersMessage, now: number): readonly Row[] {
  const before = known?.rows ?? [];
  const leaving = before.some((row) => row.goneAt !== null && now >= row.goneAt + GONE_MS);
  if (known?.message === message && !leaving) return before;
  const old = new Map(before.map((row) => [row.container.id, row]));
  const rows = message.data.map((container): Row => {
    const row = old.get(container.id);
    old.delete(container.id);
    if (row && row.goneAt === null && sameContainer(row.container, container)) return row;
    return { key: `${host}/${container.id}`, host, container, goneAt: null };
  });
  for (const row of old.values()) {
    if (row.goneAt === null) rows.push({ ...row, goneAt: now });
    else if (now < row.goneAt + GONE_MS) rows.push(row);
  }
  return rows.length === before.length && rows.every((row, index) => row === before[index]) ? before : rows;
}

/** Docker's own words, "Up 3 minutes", are not drawn: that they change is no change. */
function sameContainer(a: Container, b: Container): boolean {
  return same({ ...a, status: "" }, { ...b, status: "" });
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const left = Object.entries(a);
  const right = new Map(Object.entries(b));
  return left.length === right.size && left.every(([key, value]) => right.has(key) && same(value, right.get(key)));
}
