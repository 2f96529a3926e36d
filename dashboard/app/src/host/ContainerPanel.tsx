/** One container in detail, at the side of its host's page. */

import type { Container } from "@fleetcast/client";
import { useContainers } from "@fleetcast/client/react";
import { type KeyboardEvent, type ReactNode, useEffect, useRef } from "react";
import { ActionButtons } from "../actions/ActionButtons.tsx";
import { dateTime } from "../lib/format.ts";
import { Age } from "../ui/Age.tsx";
import { Button } from "../ui/Button.tsx";
import { Empty } from "../ui/Empty.tsx";
import { Icon } from "../ui/Icon.tsx";
import { StatusDot, type Tone } from "../ui/StatusDot.tsx";
import { ContainerCharts } from "./ContainerCharts.tsx";
import css from "./ContainerPanel.module.css";
import { findContainer, portText } from "./links.ts";

interface ContainerPanelProps {
  readonly host: string;
  /** As the URL names it. */
  readonly named: string;
  readonly onClose: () => void;
}

export function ContainerPanel({ host, named, onClose }: ContainerPanelProps) {
  const containers = useContainers(host).data?.data;
  const container = containers && findContainer(containers, named);
  const panel = useRef<HTMLElement | null>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another container is another panel: the focus goes to it
  useEffect(() => {
    const before = document.activeElement;
    panel.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, [named]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.stopPropagation();
    onClose();
  };

  return (
    <aside ref={panel} className={css["panel"]} aria-label="Container" tabIndex={-1} onKeyDown={onKeyDown}>
      <div className={css["head"]}>
        <h2 className="truncate">{container?.name ?? named.slice(0, 12)}</h2>
        <Button size="s" variant="ghost" icon={<Icon name="cross" />} aria-label="Close" onClick={onClose} />
      </div>
      {container && <Detail host={host} container={container} />}
      {containers && !container && (
        <Empty title="This container is not there any more.">
          It was removed, or was never on {host}. The host's events say what became of it.
        </Empty>
      )}
    </aside>
  );
}

function Detail({ host, container }: { readonly host: string; readonly container: Container }) {
  const { state, health, startedAt, finishedAt, exitCode, project, service } = container;
  const runs = startedAt !== null && (state === "running" || state === "paused");
  return (
    <>
      <div className={css["state"]}>
        <StatusDot tone={toneOf(container)}>{health === null ? state : `${state}, ${health}`}</StatusDot>
        <ActionButtons host={host} container={container} />
      </div>
      <ContainerCharts key={container.id} host={host} container={container} />
      <dl className={css["facts"]}>
        <Fact name="Image">{container.image}</Fact>
        <Fact name="Docker says">{container.status}</Fact>
        {startedAt !== null && (
          <Fact name={runs ? "Started" : "Last started"}>
            {dateTime(startedAt)} (<Age at={startedAt} />)
          </Fact>
        )}
        {!runs && finishedAt !== null && <Fact name="Ended">{dateTime(finishedAt)}</Fact>}
        {exitCode !== null && (
          <Fact name="Exit code">
            {exitCode}
            {container.oomKilled && ", out of memory"}
          </Fact>
        )}
        <Fact name="Restarts by Docker">{container.restartCount}</Fact>
        <Fact name="Created">{dateTime(container.createdAt)}</Fact>
        {project !== null && (
          <Fact name="Compose">
            {project}
            {service !== null && ` / ${service}`}
          </Fact>
        )}
        <Fact name="Ports">
          <List of={container.ports.map(portText)} />
        </Fact>
        <Fact name="Labels">
          <List of={Object.entries(container.labels).map(([name, value]) => `${name}=${value}`)} />
        </Fact>
        <Fact name="Id">
          <code>{container.id}</code>
        </Fact>
      </dl>
    </>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function List({ of }: { readonly of: readonly string[] }) {
  const texts = [...new Set(of)];
  if (texts.length === 0) return "none";
  return (
    <ul>
      {texts.map((text) => (
        <li key={text}>{text}</li>
      ))}
    </ul>
  );
}

function toneOf({ state, health, exitCode }: Container): Tone {
  if (health === "unhealthy" || state === "dead") return "bad";
  if (state === "running") return health === "starting" ? "warn" : "ok";
  if (state === "exited" && exitCode !== null && exitCode !== 0) return "bad";
  return state === "paused" || state === "restarting" ? "warn" : "muted";
}
