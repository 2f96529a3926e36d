import type { HostStatus } from "@fleetcast/client";
import { useHosts } from "@fleetcast/client/react";
import { useMemo } from "react";
import { useNow } from "../lib/clock.ts";
import { freshness } from "../lib/freshness.ts";
import { useConnected } from "../lib/status.ts";
import type { Messages } from "./rows.ts";

/** Hosts whose containers are not known to be as they are shown, and why. */
export type Stale = ReadonlyMap<string, string>;

/** How long "the roster is not known yet" may take to show: nothing is said of hosts before it has come. */
const LOOK_EVERY_MS = 5000;

export function useStale(messages: Messages): Stale {
  const hosts = useHosts().data?.hosts;
  const connected = useConnected();
  const now = useNow(LOOK_EVERY_MS);
  return useMemo(() => staleHosts(messages, hosts, connected, now), [messages, hosts, connected, now]);
}

export function staleHosts(
  messages: Messages,
  hosts: readonly HostStatus[] | undefined,
  connected: boolean,
  now: number,
): Stale {
  const links = new Map((hosts ?? []).map((one) => [one.host, one.links.containers]));
  const stale = new Map<string, string>();
  for (const { host, sampledAt } of Object.values(messages)) {
    const { reason } = freshness({ link: links.get(host), sampledAt, now, connected, kind: "containers" });
    if (reason !== null) stale.set(host, reason);
  }
  return stale;
}
