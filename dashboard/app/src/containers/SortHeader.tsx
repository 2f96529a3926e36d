import { Icon } from "../ui/Icon.tsx";
import { HeaderCell } from "./Cells.tsx";
import css from "./ContainerTable.module.css";
import type { ColumnHeader } from "./useOrder.ts";

const NUMERIC = new Set(["restarts"]);

export function SortHeader({ header }: { readonly header: ColumnHeader }) {
  const { column } = header;
  const sorted = column.getIsSorted();
  const label = String(column.columnDef.header);
  return (
    <HeaderCell
      sort={sorted === false ? "none" : sorted === "asc" ? "ascending" : "descending"}
      className={NUMERIC.has(column.id) ? css.headEnd : css.headCell}
    >
      <button type="button" onClick={() => column.toggleSorting()} title={`Sort by ${label.toLowerCase()}`}>
        <span>{label}</span>
        <span className={css.arrow} data-sorted={sorted}>
          <Icon name={sorted === "desc" ? "down" : "up"} size={11} />
        </span>
      </button>
    </HeaderCell>
  );
}
