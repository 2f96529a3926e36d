import {
  createColumnHelper,
  createSortedRowModel,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useContext, useEffect, useMemo, useState } from "react";
import type { Row } from "./rows.ts";
import { compare, descendsFirst, type Entry, entriesOf, inBaseOrder, isLive, type SortKey, sortValue } from "./sort.ts";
import { UsageBoardContext, type UsageByHost } from "./usage.ts";

/** By live values the list is put in order anew at most this often. */
const REORDER_MS = 5000;

const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: {},
});
const helper = createColumnHelper<typeof features, Entry>();

const LABELS: readonly (readonly [SortKey, string])[] = [
  ["name", "Name"],
  ["host", "Host"],
  ["image", "Image"],
  ["health", "Health"],
  ["status", "Status"],
  ["ports", "Ports"],
  ["cpu", "CPU"],
  ["memory", "Memory"],
  ["restarts", "Restarts"],
];

const columns = helper.columns(
  LABELS.map(([key, header]) =>
    helper.accessor((entry) => sortValue(entry, key), {
      id: key,
      header,
      sortFn: (a, b, id) => compare(a.getValue(id), b.getValue(id)),
      sortUndefined: "last",
      sortDescFirst: descendsFirst(key),
    }),
  ),
);

interface OrderOptions {
  readonly rows: readonly Row[];
  readonly sort: SortKey;
  readonly descending: boolean;
  readonly onSort: (sort: SortKey, descending: boolean) => void;
  /** While it says so, live values move nothing: somebody is about to click. */
  readonly held: () => boolean;
}

/** The rows in order, and the columns' headers that say and change it. */
export function useOrder({ rows, sort, descending, onSort, held }: OrderOptions) {
  const usage = useUsageNowAndThen(isLive(sort), held);
  const based = useMemo(() => inBaseOrder(rows), [rows]);
  const data = useMemo(() => entriesOf(based, usage), [based, usage]);
  const sorting = useMemo((): SortingState => [{ id: sort, desc: descending }], [sort, descending]);
  const table = useTable({
    features,
    columns,
    data,
    getRowId: (entry) => entry.row.key,
    state: { sorting },
    onSortingChange: (update) => {
      const [next] = typeof update === "function" ? update(sorting) : update;
      onSort((next?.id as SortKey | undefined) ?? "name", next?.desc ?? false);
    },
  });
  const sorted = table.getRowModel().rows;
  const ordered = useMemo(() => sorted.map(({ original }) => original.row), [sorted]);
  return { ordered, headers: table.getHeaderGroups()[0]?.headers ?? [] };
}

export type ColumnHeader = ReturnType<typeof useOrder>["headers"][number];

/** The usage as it was a few seconds ago at most; null where it is not `wanted`. */
function useUsageNowAndThen(wanted: boolean, held: () => boolean): UsageByHost | null {
  const board = useContext(UsageBoardContext);
  const [usage, setUsage] = useState<UsageByHost | null>(null);
  useEffect(() => {
    if (!wanted) {
      setUsage(null);
      return;
    }
    setUsage(board.current());
    const timer = setInterval(() => {
      if (!held()) setUsage(board.current());
    }, REORDER_MS);
    // The first figures are not waited for.
    const off = board.subscribe(() =>
      setUsage((known) => (known && Object.keys(known).length > 0 ? known : board.current())),
    );
    return () => {
      clearInterval(timer);
      off();
    };
  }, [wanted, board, held]);
  return usage;
}
