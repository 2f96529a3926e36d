import type { ConnectionState, FleetClient, HostStatus, Session } from "@fleetcast/client";
import { useFleetcast, useHosts } from "@fleetcast/client/react";
import { useSyncExternalStore } from "react";

/** One host's place in the roster; undefined while the roster is not known, or where the host is not in it. */
export function useHostStatus(host: string): HostStatus | undefined {
  return useHosts().data?.hosts.find((one) => one.host === host);
}

/** Whether messages flow now. */
export function useConnected(): boolean {
  return useConnectionState() === "open";
}

/** The state alone: who asks for it does not render again with every measured latency. */
export function useConnectionState(): ConnectionState {
  return useOfClient((client) => client.status.state);
}

/** Who is signed in, as the edge says; the last one while there is no connection. */
export function useSession(): Session | null {
  return useOfClient((client) => client.status.session);
}

function useOfClient<T>(read: (client: FleetClient) => T): T {
  const client = useFleetcast();
  return useSyncExternalStore(client.onStatus, () => read(client));
}
