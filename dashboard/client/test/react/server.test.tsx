/** Rendered where there is no window and no document. */

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import {
  FleetcastProvider,
  fleetcastKeys,
  useContainerAction,
  useEvents,
  useFleetcast,
  useHosts,
  useMetrics,
  useWebSocket,
} from "../../src/react/index.ts";
import type { FleetClient } from "../../src/types.ts";
import { fakeClient, metrics, roster } from "./fakeClient.ts";

function Everything() {
  const { state } = useWebSocket();
  const hosts = useHosts();
  const { data } = useMetrics("web-1");
  useMetrics();
  useEvents();
  const { isIdle } = useContainerAction();
  return <i>{`${state} ${hosts.isPending} ${data?.seq ?? "-"} ${isIdle}`}</i>;
}

function ActsAtOnce() {
  useFleetcast().act({ containerId: "nginx", action: "stop" });
  return null;
}

function page(client: FleetClient | null, queryClient = new QueryClient(), children = <Everything />): string {
  return renderToString(
    <QueryClientProvider client={queryClient}>
      <FleetcastProvider client={client}>{children}</FleetcastProvider>
    </QueryClientProvider>,
  );
}

test("without a client everything is pending", () => {
  expect(typeof document).toBe("undefined");
  expect(page(null)).toBe("<i>connecting true - true</i>");
});

test("a client that is connected changes nothing in what a server renders, and is left alone", () => {
  const client = fakeClient();
  client.become({ state: "open" });
  expect(page(client)).toBe("<i>connecting true - true</i>");
  expect(client.subscriptions).toEqual([]);
  expect(client.asked).toEqual([]);
});

test("what was prefetched is rendered", () => {
  const queryClient = new QueryClient();
  queryClient.setQueryData(fleetcastKeys.hosts(), roster("web-1"));
  queryClient.setQueryData(fleetcastKeys.metrics("web-1"), metrics("web-1", 4));
  expect(page(null, queryClient)).toBe("<i>connecting false 4 true</i>");
});

test("acting without a client throws", () => {
  expect(() => page(null, new QueryClient(), <ActsAtOnce />)).toThrow("was given none");
});
