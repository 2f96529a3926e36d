/** A page with a provider, fake timers and a fake client. */

import { focusManager, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, type RenderResult, render } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, vi } from "vitest";
import { FleetcastProvider } from "../../src/react/index.ts";
import type { FleetClient } from "../../src/types.ts";
import { type FakeClient, fakeClient } from "./fakeClient.ts";

export interface Page {
  readonly client: FakeClient;
  readonly queryClient: QueryClient;
  show(children: ReactNode): void;
  leave(): void;
  text(): string;
}

/** In strict mode, where React runs every effect twice, and a query whose function takes the signal asks twice. */
export function openPage(children: ReactNode, client: FakeClient = fakeClient(), Mode = StrictMode): Page {
  const queryClient = new QueryClient();
  const inPage = (inner: ReactNode, of: FleetClient) => (
    <Mode>
      <QueryClientProvider client={queryClient}>
        <FleetcastProvider client={of}>{inner}</FleetcastProvider>
      </QueryClientProvider>
    </Mode>
  );
  const rendered: RenderResult = render(inPage(children, client));
  return {
    client,
    queryClient,
    show: (other) => rendered.rerender(inPage(other, client)),
    leave: () => rendered.unmount(),
    text: () => rendered.container.textContent ?? "",
  };
}

/** Lets the time pass, and everything happen that is due. */
export async function pass(ms: number): Promise<void> {
  await act(() => vi.advanceTimersByTimeAsync(ms));
}

/** What happens at once in a connection. */
export function now(run: () => void): void {
  act(run);
}

export function setHidden(isHidden: boolean): void {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  Object.defineProperty(document, "visibilityState", { value: isHidden ? "hidden" : "visible", configurable: true });
  act(() => {
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  });
}

export function fakeTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000_000 });
  });
  afterEach(() => {
    cleanup();
    setHidden(false);
    focusManager.setFocused(undefined);
    vi.useRealTimers();
  });
}
