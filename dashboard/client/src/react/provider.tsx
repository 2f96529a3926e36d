"use client";

import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useLayoutEffect, useSyncExternalStore } from "react";
import { FIRST_STATUS } from "../status.ts";
import type { FleetClient, Status } from "../types.ts";
import { absentClient } from "./absent.ts";
import { prepareCache, startFeed } from "./cache.ts";

const FleetContext = createContext<FleetClient | null>(null);

/** Children subscribe in passive effects, which come after this; on a server React would warn of it. */
const useBeforeChildren = typeof document === "undefined" ? useEffect : useLayoutEffect;

export interface FleetcastProviderProps {
  /** Null while rendering on a server: everything is pending then, and nothing is asked for. */
  readonly client: FleetClient | null;
  readonly children?: ReactNode;
}

/**
 * Puts what the client receives into the QueryClient in context, for as long as it is mounted. At most one for each
 * QueryClient. It does not close the client.
 */
export function FleetcastProvider({ client, children }: FleetcastProviderProps) {
  const queryClient = useQueryClient();
  prepareCache(queryClient);
  useBeforeChildren(() => (client === null ? undefined : startFeed(client, queryClient)), [client, queryClient]);
  return <FleetContext.Provider value={client ?? absentClient}>{children}</FleetContext.Provider>;
}

/** The client that the provider was given. */
export function useFleetcast(): FleetClient {
  const client = useContext(FleetContext);
  if (client === null) {
    throw new Error("useFleetcast and its like need a FleetcastProvider above them");
  }
  return client;
}

/** The connection: its state, transport, latency and last problem. */
export function useWebSocket(): Status {
  const client = useFleetcast();
  return useSyncExternalStore(client.onStatus, () => client.status, serverStatus);
}

function serverStatus(): Status {
  return FIRST_STATUS;
}
