import { memo } from "react";
import { Link } from "wouter";
import { RowActions } from "../actions/RowActions.tsx";
import type { Act } from "../actions/useAct.ts";
import type { May } from "../actions/useMay.ts";
import { Icon } from "../ui/Icon.tsx";
import { StatusDot } from "../ui/StatusDot.tsx";
import { Cell, Line } from "./Cells.tsx";
import css from "./Row.module.css";
import { hrefOf, type Row } from "./rows.ts";
import { Since } from "./Since.tsx";
import { CpuCell, MemoryCell } from "./UsageCells.tsx";
import { healthTone, portWords, shortImage, standingOf } from "./words.ts";

interface ContainerRowProps {
  readonly row: Row;
  /** In the whole list, from 1. */
  readonly rowIndex: number;
  /** A card for a narrow place, or a line of a table. */
  readonly card: boolean;
  readonly withHost: boolean;
  readonly selected: boolean;
  /** Tab leads to this row, and through what is in it. */
  readonly active: boolean;
  /** Why this may not be so any more; null where it is so. */
  readonly stale: string | null;
  readonly may: May;
  readonly act: Act;
  readonly onToggle: (key: string, range: boolean) => void;
  readonly onRefused: (why: string) => void;
}

/** Drawn again only when one of its own properties is another one: figures and ages look after themselves. */
export const ContainerRow = memo(function ContainerRow(props: ContainerRowProps) {
  const { row, card, selected, active, stale } = props;
  return (
    <Line
      className={card ? css.card : css.row}
      rowIndex={props.rowIndex}
      selected={selected}
      tabIndex={active ? 0 : -1}
      data={{
        "data-key": row.key,
        "data-host": props.withHost,
        "data-selected": selected,
        "data-stale": stale !== null || row.goneAt !== null,
        "data-gone": row.goneAt !== null,
      }}
    >
      {card ? <CardCells {...props} /> : <LineCells {...props} />}
    </Line>
  );
});

function LineCells(props: ContainerRowProps) {
  const { row, withHost } = props;
  const { container, host } = row;
  return (
    <>
      <Cell>
        <Check {...props} />
      </Cell>
      <Cell className={css.name}>
        <Name {...props} />
      </Cell>
      {withHost && (
        <Cell className={css.text} title={host}>
          {host}
        </Cell>
      )}
      <Cell className={css.text} title={container.image}>
        {shortImage(container.image)}
      </Cell>
      <Cell className={css.text}>
        <Health {...props} />
      </Cell>
      <Cell className={css.text}>
        <Standing {...props} />
      </Cell>
      <Cell className={css.text}>
        <Ports {...props} />
      </Cell>
      <Figures {...props} />
      <Cell className={css.count}>
        <Restarts {...props} />
      </Cell>
      <Cell className={css.actions}>
        <Actions {...props} />
      </Cell>
    </>
  );
}

function CardCells(props: ContainerRowProps) {
  const { row, withHost } = props;
  const { container, host } = row;
  return (
    <>
      <Cell className={css.cardCheck}>
        <Check {...props} />
      </Cell>
      <Cell className={css.name}>
        <Name {...props} />
      </Cell>
      <Cell className={css.actions}>
        <Actions {...props} />
      </Cell>
      <Cell className={css.cardFacts}>
        <Standing {...props} />
        {container.health !== null && <Health {...props} />}
        {withHost && <span title="Host">{host}</span>}
        <span title={container.image}>{shortImage(container.image)}</span>
        <Ports {...props} />
        {container.restartCount > 0 && <Restarts {...props} worded />}
      </Cell>
      <Figures {...props} />
    </>
  );
}

function Check({ row, selected, active, onToggle }: ContainerRowProps) {
  return (
    <label className={css.check}>
      <input
        type="checkbox"
        aria-label={`Select ${row.container.name} on ${row.host}`}
        checked={selected}
        disabled={row.goneAt !== null}
        tabIndex={active ? 0 : -1}
        onChange={(event) => onToggle(row.key, (event.nativeEvent as MouseEvent).shiftKey === true)}
      />
    </label>
  );
}

function Name({ row, active }: ContainerRowProps) {
  const { container } = row;
  const { tone, word } = standingOf(container);
  return (
    <>
      <StatusDot tone={tone} />
      <span className="visually-hidden">{word}</span>
      <Link
        className={css.link}
        href={hrefOf(row)}
        title={`${container.name} · ${container.id.slice(0, 12)} (Enter)`}
        tabIndex={active ? 0 : -1}
      >
        {container.name}
      </Link>
      {container.protected && (
        <span className={css.lock} title="Protected: its host refuses every action on it">
          <Icon name="lock" size={12} />
          <span className="visually-hidden">protected</span>
        </span>
      )}
    </>
  );
}

function Health({ row: { container } }: ContainerRowProps) {
  const { health, state } = container;
  if (health === null) return <span className="muted">–</span>;
  if (state !== "running" && state !== "paused") return <span className="muted">{health}</span>;
  return <span data-tone={healthTone(health)}>{health}</span>;
}

/** How it is and since when; or why that is not known. */
function Standing({ row: { container, goneAt }, stale }: ContainerRowProps) {
  if (goneAt !== null) return <span className={css.gone}>gone</span>;
  if (stale !== null) {
    return (
      <span className={css.stale} title={stale}>
        {stale}
      </span>
    );
  }
  const { word, since, tone } = standingOf(container);
  return (
    <span data-tone={container.state === "running" ? "ok" : tone}>
      {word}
      {since !== null && (
        <>
          {" "}
          <Since at={since} />
        </>
      )}
    </span>
  );
}

function Ports({ row: { container } }: ContainerRowProps) {
  const words = portWords(container.ports);
  return <span title={words.join(", ")}>{words.join(", ")}</span>;
}

function Restarts({ row: { container }, worded = false }: ContainerRowProps & { readonly worded?: boolean }) {
  const count = container.restartCount;
  const words = `${count} ${count === 1 ? "restart" : "restarts"} by Docker's restart policy`;
  return (
    <span title={words} data-tone={count > 0 ? "ok" : "muted"}>
      {worded ? `${count} ${count === 1 ? "restart" : "restarts"}` : count}
    </span>
  );
}

function Figures({ row: { host, container } }: ContainerRowProps) {
  const { id, name, state } = container;
  const runs = state === "running" || state === "paused" || state === "restarting";
  const props = { host, id, name };
  return (
    <>
      <Cell className={css.cpu}>{runs && <CpuCell {...props} />}</Cell>
      <Cell className={css.memory}>{runs && <MemoryCell {...props} />}</Cell>
    </>
  );
}

function Actions({ row, card, active, may, act, onRefused }: ContainerRowProps) {
  if (row.goneAt !== null) return null;
  const { host, container } = row;
  return <RowActions {...{ host, container, may, act, onRefused }} menuOnly={card} tabIndex={active ? 0 : -1} />;
}
