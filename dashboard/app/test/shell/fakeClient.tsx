import type { FleetClient, Status } from "@fleetcast/client";
import { FleetcastProvider } from "@fleetcast/client/react";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render } from "@testing-library/react";
import type { ReactElement } from "react";
import { vi } from "vitest";
import { TooltipProvider } from "../../src/ui/Tooltip.tsx";

export const SESSION = { clientId: "c-1", edgeId: "edge-1", user: "ops", role: "operator" } as const;

const OPEN: Status = {
  state: "open",
  transport: "websocket",
  latencyMs: 12,
  lastError: null,
  retryAt: null,
  attempt: 0,
  session: SESSION,
  skippedFrames: 0,
};

export function statusOf(change: Partial<Status>): Status {
  return { ...OPEN, ...change };
}

/** A client whose status the test sets, and whose fleet says nothing. */
export function fakeClient(first: Partial<Status> = {}) {
  let status = statusOf(first);
  const listeners = new Set<(status: Status) => void>();
  const reconnect = vi.fn();
  const never = () => {
    throw new Error("not in these tests");
  };
  const client: FleetClient = {
    get status() {
      return status;
    },
    onStatus: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    subscribe: () => () => undefined,
    act: never,
    actOnAll: never,
    get: () => new Promise(() => undefined),
    now: () => Date.now(),
    reconnect,
    close: () => undefined,
  };
  const set = (change: Partial<Status>) =>
    act(() => {
      status = { ...status, ...change };
      for (const listener of listeners) listener(status);
    });
  return { client, reconnect, set };
}

export function show(element: ReactElement, client: FleetClient) {
  return render(
    <QueryClientProvider client={new QueryClient()}>
      <FleetcastProvider client={client}>
        <TooltipProvider>{element}</TooltipProvider>
      </FleetcastProvider>
    </QueryClientProvider>,
  );
}
