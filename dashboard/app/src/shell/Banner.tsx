import type { Status } from "@fleetcast/client";
import { useFleetcast, useWebSocket } from "@fleetcast/client/react";
import { useState } from "react";
import { useNow } from "../lib/clock.ts";
import { age, clockTime } from "../lib/format.ts";
import { Icon } from "../ui/Icon.tsx";
import css from "./Banner.module.css";
import { isLost, secondsLeft } from "./connection.ts";

/** While the connection is lost: since when, why, and what comes next. It lies over room that is always kept for it. */
export function Banner() {
  const status = useWebSocket();
  const [lostAt, setLostAt] = useState<number | null>(null);
  // The first problem is the loss; later ones are of attempts to come back.
  const next = status.session === null || !isLost(status) ? null : (lostAt ?? status.lastError?.at ?? Date.now());
  if (next !== lostAt) setLostAt(next);
  return isLost(status) ? <Lost status={status} lostAt={next} /> : null;
}

/** `lostAt`: on this machine's clock, ms; null where there never was a connection. */
function Lost({ status, lostAt }: { readonly status: Status; readonly lostAt: number | null }) {
  const client = useFleetcast();
  useNow();
  const { lastError, state } = status;
  const nowMs = Date.now();
  return (
    <div className={css.banner}>
      <Icon name="alert" size={14} />
      <p>
        <strong>{lostAt === null ? "No connection" : `Connection lost ${age(Math.max(1000, nowMs - lostAt))}`}</strong>
        <span className={css.why}>
          {lastError && `: ${lastError.message}`}
          {lostAt !== null && `. What you see is of ${clockTime(lostAt)}`}
        </span>
      </p>
      <button type="button" onClick={() => client.reconnect()}>
        {state === "waiting"
          ? `Try now (${secondsLeft(status, nowMs)} s)`
          : state === "refused"
            ? "Try again"
            : "Trying…"}
      </button>
    </div>
  );
}
