import type { CSSProperties, KeyboardEvent, ReactNode, Ref } from "react";

/*
 * A grid of rows and cells in roles, drawn with elements that may stand anywhere: only the rows in sight are there, each
 * at its place, which a table element does not allow. The focus is on rows and on what is in cells, never on a cell.
 */

interface BoxProps {
  readonly className?: string | undefined;
  readonly title?: string | undefined;
  readonly children?: ReactNode;
}

export function Cell({ className, title, children }: BoxProps) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive lint/a11y/useSemanticElements: see above
    <span role="gridcell" className={className} title={title}>
      {children}
    </span>
  );
}

interface HeaderCellProps extends BoxProps {
  readonly sort?: "none" | "ascending" | "descending";
}

export function HeaderCell({ className, sort, children }: HeaderCellProps) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive lint/a11y/useSemanticElements: see above
    <span role="columnheader" className={className} aria-sort={sort}>
      {children}
    </span>
  );
}

interface LineProps extends BoxProps {
  /** In the whole list, from 1. */
  readonly rowIndex: number;
  readonly tabIndex?: 0 | -1;
  readonly selected?: boolean;
  /** `data-` attributes. */
  readonly data?: Readonly<Record<`data-${string}`, string | boolean>>;
}

export function Line({ className, rowIndex, tabIndex, selected, data, children }: LineProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: see above
    <div
      role="row"
      className={className}
      aria-rowindex={rowIndex}
      {...(tabIndex === undefined ? {} : { tabIndex })}
      {...(selected === undefined ? {} : { "aria-selected": selected })}
      {...data}
    >
      {children}
    </div>
  );
}

interface LinesProps extends BoxProps {
  readonly style?: CSSProperties;
  readonly ref?: Ref<HTMLDivElement>;
}

export function Lines({ className, style, ref, children }: LinesProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    <div role="rowgroup" className={className} style={style} ref={ref ?? null}>
      {children}
    </div>
  );
}

interface FrameProps extends BoxProps {
  readonly label: string;
  readonly rowCount: number;
  readonly data?: Readonly<Record<`data-${string}`, string | boolean>>;
  readonly onKeyDown: (event: KeyboardEvent<HTMLElement>) => void;
  /** The row in which something has got the focus. */
  readonly onRowFocus: (key: string) => void;
  readonly ref: Ref<HTMLDivElement>;
}

export function Frame({ label, rowCount, className, data, onKeyDown, onRowFocus, ref, children }: FrameProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    <div
      ref={ref}
      role="grid"
      tabIndex={-1}
      aria-label={label}
      aria-multiselectable="true"
      aria-rowcount={rowCount}
      className={className}
      onKeyDown={onKeyDown}
      onFocus={({ target, currentTarget }) => {
        const key = target.closest<HTMLElement>("[data-key]")?.dataset["key"];
        if (key !== undefined && currentTarget.contains(target)) onRowFocus(key);
      }}
      {...data}
    >
      {children}
    </div>
  );
}
