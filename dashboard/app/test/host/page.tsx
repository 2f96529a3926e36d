/** A page for tests: a client without an edge, and a screen that shows what the test says. */

import type { FleetClient, HostStatus, Status } from "@fleetcast/client";
import { FleetcastProvider } from "@fleetcast/client/react";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { vi } from "vitest";
import { Router } from "wouter";
import { memoryLocation } from "wouter/memory-location";
import { TooltipProvider } from "../../src/ui/Tooltip.tsx";

export const NOW = Date.UTC(2026, 10, 24, 12);

/** `show` tells all observers whether what they watch is on the screen. */
export function fakeScreen(): { readonly show: (visible: boolean) => void } {
  const observers = new Set<(entries: readonly { readonly isIntersecting: boolean }[]) => void>();
  class FakeObserver {
    constructor(private readonly run: (entries: readonly { readonly isIntersecting: boolean }[]) => void) {}
    observe() {
      observers.add(this.run);
    }
    disconnect() {
      observers.delete(this.run);
    }
  }
  vi.stubGlobal("IntersectionObserver", FakeObserver);
  return {
    show: (isIntersecting) => {
      for (const run of observers) run([{ isIntersecting }]);
    },
  };
}

/** Open; a subscriber gets its channel's message, if there is one. There is nothing to ask for. */
export function fakeClient(messages: Readonly<Record<string, unknown>>): FleetClient {
  const status = { state: "open", transport: "websocket", session: null, skippedFrames: 0 } as unknown as Status;
  const nothing = () => undefined;
  return {
    status,
    onStatus: () => nothing,
    subscribe: (channel, handler) => {
      const message = messages[channel];
      if (message !== undefined) queueMicrotask(() => handler(message as never));
      return nothing;
    },
    act: () => {
      throw new Error("nothing can be done here");
    },
    actOnAll: () => [],
    get: (path) => Promise.reject(new Error(`there is nothing at ${path}`)),
    now: () => NOW,
    reconnect: nothing,
    close: nothing,
  };
}

/** `where()` is the present address. */
export function pageAt(url: string, client: FleetClient, children: ReactNode) {
  const [path = "/", search = ""] = url.split("?");
  const { hook, searchHook, history } = memoryLocation({ path, searchPath: search, record: true });
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const page = (
    <QueryClientProvider client={queries}>
      <FleetcastProvider client={client}>
        <TooltipProvider>
          <Router hook={hook} searchHook={searchHook}>
            {children}
          </Router>
        </TooltipProvider>
      </FleetcastProvider>
    </QueryClientProvider>
  );
  return { page, where: () => history.at(-1) };
}

export function hostStatus(host: string, more: Partial<HostStatus> = {}): HostStatus {
  const live = { state: "live" } as const;
  return {
    ...{ host, status: "live", expected: "always", lastSeenAt: NOW, labels: {} },
    links: { metrics: live, containers: live, executor: live },
    ...more,
  };
}
