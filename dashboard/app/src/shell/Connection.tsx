import { useFleetcast, useWebSocket } from "@fleetcast/client/react";
import { Popover } from "radix-ui";
import type { ReactNode } from "react";
import { useNow } from "../lib/clock.ts";
import { clockTime, duration } from "../lib/format.ts";
import { Button } from "../ui/Button.tsx";
import { StatusDot } from "../ui/StatusDot.tsx";
import css from "./Connection.module.css";
import { behind, describeConnection, TRANSPORT_NAMES } from "./connection.ts";
import { forgetToken, token } from "./token.ts";

/** Only a countdown has to be drawn again by itself. */
const HOUR_MS = 3_600_000;

/** The connection at a glance; all of it behind a press. */
export function Connection() {
  const status = useWebSocket();
  useNow(status.state === "waiting" ? 1000 : HOUR_MS);
  const words = describeConnection(status, Date.now());
  const late = status.state === "open" ? behind(status.skippedFrames) : null;
  return (
    <div className={css.connection}>
      {late && <span className={css.late}>{late}</span>}
      {status.state === "open" && words.note && <span className={css.over}>{words.note}</span>}
      <Popover.Root>
        <Popover.Trigger className={css.pill}>
          <span className="visually-hidden">Connection: </span>
          <StatusDot tone={words.tone}>{words.label}</StatusDot>
          {status.state === "open" && <span className={css.latency}>{latency(status.latencyMs)}</span>}
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Content
            className={css.details}
            align="end"
            sideOffset={6}
            collisionPadding={8}
            aria-label="Connection"
          >
            <Details />
          </Popover.Content>
        </Popover.Portal>
      </Popover.Root>
    </div>
  );
}

function Details() {
  const client = useFleetcast();
  const status = useWebSocket();
  useNow(status.state === "waiting" ? 1000 : HOUR_MS);
  const words = describeConnection(status, Date.now());
  const { session, lastError } = status;
  return (
    <>
      {words.note && <p className={css.note}>{sentence(words.note)}</p>}
      {status.skippedFrames > 0 && (
        <p className={css.note}>
          {sentence(behind(status.skippedFrames) ?? "")} Of the last ten seconds the edge has left so many states out,
          for newer ones were there: this page or its network is slow. What is shown is the newest.
        </p>
      )}
      <dl className={css.facts}>
        <Fact name="State">{words.label}</Fact>
        <Fact name="Transport">{TRANSPORT_NAMES[status.transport]}</Fact>
        <Fact name="Latency">{latency(status.latencyMs)}</Fact>
        <Fact name="Edge">{session?.edgeId ?? "–"}</Fact>
        <Fact name="User">{session ? `${session.user}, ${session.role}` : "–"}</Fact>
        {lastError && (
          <Fact name="Last trouble">
            {lastError.message}
            {lastError.code !== null && ` (${lastError.code})`}, {clockTime(lastError.at)}
          </Fact>
        )}
      </dl>
      <div className={css.buttons}>
        {words.canRetry && (
          <Button size="s" onClick={() => client.reconnect()}>
            Try now
          </Button>
        )}
        {token() !== null && (
          <Button size="s" onClick={signOut}>
            Sign out
          </Button>
        )}
      </div>
    </>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** With all that was seen: nothing of it stays in this tab. */
function signOut() {
  forgetToken();
  location.reload();
}

function latency(ms: number | null): string {
  return ms === null ? "–" : duration(Math.max(1, ms));
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
