import type { ContainersMessage, UsageMessage } from "@fleetcast/client";
import { type ByHost, useContainers, useUsage } from "@fleetcast/client/react";
import type { UseQueryResult } from "@tanstack/react-query";
import { useEffect, useMemo, useReducer, useRef } from "react";
import { EMPTY_BOOK, type Messages, nextBook, nextLeaving, type RowBook } from "./rows.ts";
import type { UsageByHost } from "./usage.ts";

type ForHost<Message> = (host?: string) => UseQueryResult<Message | ByHost<Message>>;
// One host or all is decided by a property here; the overloads know only the one or the other.
const useContainersFor = useContainers as ForHost<ContainersMessage>;
const useUsageFor = useUsage as ForHost<UsageMessage>;

export interface Rows {
  readonly book: RowBook;
  readonly messages: Messages;
  readonly loading: boolean;
  readonly error: Error | null;
}

/** The containers of one host or of all, as rows that keep their identity. */
export function useRows(host: string | undefined): Rows {
  const { data, isPending, error } = useContainersFor(host);
  const messages = useMemo(() => byHost(data), [data]);
  const [turn, again] = useReducer((count: number) => count + 1, 0);
  const last = useRef<{ readonly host: string | undefined; readonly book: RowBook }>({ host, book: EMPTY_BOOK });
  const book = useMemo(() => {
    void turn; // a gone one's time is up
    return nextBook(last.current.host === host ? last.current.book : EMPTY_BOOK, messages, Date.now());
  }, [messages, host, turn]);
  useEffect(() => {
    last.current = { host, book };
    const leaving = nextLeaving(book);
    if (leaving === null) return;
    const timer = setTimeout(again, Math.max(0, leaving - Date.now()));
    return () => clearTimeout(timer);
  }, [book, host]);
  return { book, messages, loading: isPending, error };
}

export function useUsageByHost(host: string | undefined): UsageByHost {
  const { data } = useUsageFor(host);
  return useMemo(() => byHost(data), [data]);
}

function byHost<Message extends ContainersMessage | UsageMessage>(
  data: Message | ByHost<Message> | undefined,
): ByHost<Message> {
  if (data === undefined) return {};
  return isMessage<Message>(data) ? ({ [data.host]: data } as ByHost<Message>) : (data as ByHost<Message>);
}

/** A host may be called "type", but its message is no string. */
function isMessage<Message>(data: Message | ByHost<Message>): data is Message {
  return typeof (data as { readonly type?: unknown }).type === "string";
}
