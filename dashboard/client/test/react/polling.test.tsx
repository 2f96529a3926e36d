// @vitest-environment happy-dom
/** A page that polls, written before it knew of Fleetcast: its components keep their code. */

import { focusManager, QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query";
import { act, render } from "@testing-library/react";
import { Fragment } from "react";
import { expect, test, vi } from "vitest";
import { FleetcastProvider, fleetcastKeys } from "../../src/react/index.ts";
import type { FleetClient } from "../../src/types.ts";
import type { EventMessage, MetricsMessage } from "../../src/wire.ts";
import { event, fakeClient, metrics } from "./fakeClient.ts";
import { fakeTime, now, openPage, pass } from "./harness.tsx";

fakeTime();

type Fetch<T> = () => Promise<T>;

interface PollingProps {
  readonly queryFn: Fetch<MetricsMessage>;
  readonly everyMs?: number;
  readonly staleTime?: number;
  readonly refetchOnWindowFocus?: "always";
}

function Polling({ queryFn, everyMs = 2_000, ...options }: PollingProps) {
  const { data } = useQuery({
    queryKey: fleetcastKeys.metrics("web-1"),
    queryFn,
    refetchInterval: everyMs,
    ...options,
  });
  return <i>{data?.seq ?? "-"}</i>;
}

function PollingEvents({ queryFn }: { readonly queryFn: Fetch<readonly EventMessage[]> }) {
  const { data } = useQuery({ queryKey: fleetcastKeys.events("web-1"), queryFn, refetchInterval: 2_000 });
  return <i>{data?.map(({ at }) => at).join(",")}</i>;
}

/** Answers one more each time. */
function source(first = 1) {
  let seq = first - 1;
  return vi.fn(async () => {
    seq += 1;
    return metrics("web-1", seq);
  });
}

test("without a connection it polls as ever", async () => {
  const queryFn = source();
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "waiting" }));
  await pass(0);
  expect(queryFn).toHaveBeenCalledTimes(1);
  await pass(6_100);
  expect(queryFn).toHaveBeenCalledTimes(4);
  expect(page.text()).toBe("4");
});

test("while the connection is open it asks for nothing, and polls again once that is lost", async () => {
  const queryFn = source(100);
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  for (let seq = 2; seq <= 30; seq += 1) {
    await pass(1_000);
    page.client.push("metrics:web-1", metrics("web-1", seq));
  }
  await pass(300);
  expect(page.text()).toBe("30");
  expect(queryFn).not.toHaveBeenCalled();
  now(() => page.client.become({ state: "waiting" }));
  await pass(2_100);
  expect(queryFn).toHaveBeenCalledTimes(1);
  expect(page.text()).toBe("100");
  await pass(2_100);
  expect(queryFn).toHaveBeenCalledTimes(2);
  now(() => page.client.become({ state: "open" }));
  await pass(20_000);
  expect(queryFn).toHaveBeenCalledTimes(2);
});

test.each([100, 500, 2_000])(
  "a state that stays the same for long is not asked for every %i ms either",
  async (everyMs) => {
    const queryFn = source(100);
    const page = openPage(<Polling queryFn={queryFn} everyMs={everyMs} />);
    now(() => page.client.become({ state: "open" }));
    page.client.push("metrics:web-1", metrics("web-1", 1));
    await pass(60_000);
    expect(queryFn).not.toHaveBeenCalled();
    expect(page.text()).toBe("1");
    const updatedAt = page.queryClient.getQueryState(fleetcastKeys.metrics("web-1"))?.dataUpdatedAt ?? 0;
    expect(Date.now() - updatedAt).toBeLessThanOrEqual(everyMs);
  },
);

test.each([
  ["as it comes", {}],
  ["with a stale time of its own", { staleTime: 0 }],
  ["always", { refetchOnWindowFocus: "always" as const }],
])("a window that gets the focus asks for nothing while it is pushed (%s)", async (_, options) => {
  const queryFn = source(100);
  const page = openPage(<Polling queryFn={queryFn} everyMs={1e9} {...options} />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  await pass(10_000);
  act(() => focusManager.setFocused(false));
  act(() => focusManager.setFocused(true));
  await pass(100);
  expect(queryFn).not.toHaveBeenCalled();
  now(() => page.client.become({ state: "waiting" }));
  act(() => focusManager.setFocused(false));
  act(() => focusManager.setFocused(true));
  await pass(100);
  expect(queryFn).toHaveBeenCalledTimes(1);
});

test("a component that comes while it is pushed asks for nothing, and shows it at once", async () => {
  const queryFn = source(100);
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  await pass(300);
  let fetches = 0;
  page.queryClient.getQueryCache().subscribe((change) => {
    fetches += change.type === "updated" && change.action.type === "fetch" ? 1 : 0;
  });
  page.show(
    <>
      <Polling queryFn={queryFn} />
      <Polling queryFn={queryFn} />
    </>,
  );
  expect(page.text()).toBe("11");
  expect(fetches).toBe(0);
  await pass(5_000);
  expect(queryFn).not.toHaveBeenCalled();
});

test("a component that comes back after long shows what is pushed now, and asks for nothing", async () => {
  const queryFn = source(100);
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  await pass(300);
  page.show(<Fragment />);
  await pass(30_000);
  page.show(<Polling queryFn={queryFn} />);
  page.client.push("metrics:web-1", metrics("web-1", 31));
  await pass(300);
  expect(page.text()).toBe("31");
  expect(queryFn).not.toHaveBeenCalled();
});

test("a key that nobody pushes is asked for while the connection is open, as often as before", async () => {
  const queryFn = source();
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "open" }));
  await pass(2_100);
  expect(queryFn).toHaveBeenCalledTimes(1);
  expect(page.text()).toBe("1");
  for (let second = 0; second < 20; second += 1) {
    await pass(1_000);
    now(() => page.client.become({ latencyMs: second }));
  }
  expect(queryFn).toHaveBeenCalledTimes(11);
});

test("an answer that was asked for before, and is older than what was pushed meanwhile, is not shown", async () => {
  let answer: (message: MetricsMessage) => void = () => undefined;
  const queryFn = vi.fn(
    () =>
      new Promise<MetricsMessage>((resolve) => {
        answer = resolve;
      }),
  );
  const page = openPage(<Polling queryFn={queryFn} />);
  now(() => page.client.become({ state: "waiting" }));
  await pass(0);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 5));
  await pass(300);
  expect(page.text()).toBe("5");
  answer(metrics("web-1", 4));
  await pass(100);
  expect(page.text()).toBe("5");
});

test("polled events are joined with the pushed ones, and no request is made while they are pushed", async () => {
  const queryFn = vi.fn(async () => [event("web-1", 1), event("web-1", 2)]);
  const page = openPage(<PollingEvents queryFn={queryFn} />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("events:web-1", event("web-1", 3));
  await pass(10_000);
  expect(queryFn).toHaveBeenCalledTimes(1);
  expect(page.text()).toBe("1,2,3");
  now(() => page.client.become({ state: "waiting" }));
  await pass(4_100);
  expect(queryFn.mock.calls.length).toBeGreaterThanOrEqual(2);
  expect(page.text()).toBe("1,2,3");
});

test("a disabled component subscribes nothing, until it is enabled", async () => {
  const client = fakeClient();
  const page = openPage(<Sometimes enabled={false} />, client);
  expect(client.subscribed).toEqual([]);
  page.show(<Sometimes enabled={true} />);
  expect(client.subscribed).toEqual(["metrics:web-1"]);
  page.show(<Sometimes enabled={false} />);
  await pass(5_100);
  expect(client.subscribed).toEqual([]);
});

function Sometimes({ enabled }: { readonly enabled: boolean }) {
  useQuery({ queryKey: fleetcastKeys.metrics("web-1"), queryFn: () => metrics("web-1", 1), enabled });
  return null;
}

test("the stale time of the page's own QueryClient counts where nothing is pushed", async () => {
  const queryClient = new QueryClient({ defaultOptions: { queries: { staleTime: 60_000 } } });
  queryClient.setQueryData(fleetcastKeys.metrics("web-1"), metrics("web-1", 1));
  const queryFn = source(100);
  const client = fakeClient();
  client.become({ state: "waiting" });
  render(
    <QueryClientProvider client={queryClient}>
      <FleetcastProvider client={client}>
        <Polling queryFn={queryFn} everyMs={1e9} />
      </FleetcastProvider>
    </QueryClientProvider>,
  );
  await pass(1_000);
  expect(queryFn).not.toHaveBeenCalled();
});

test("another client takes over from the first, for components that have noticed nothing too", () => {
  const [first, second] = [fakeClient(), fakeClient()];
  const queryClient = new QueryClient();
  const child = <Polling queryFn={source()} />;
  const page = (client: FleetClient) => (
    <QueryClientProvider client={queryClient}>
      <FleetcastProvider client={client}>{child}</FleetcastProvider>
    </QueryClientProvider>
  );
  const { rerender } = render(page(first));
  rerender(page(second));
  expect(first.subscribed).toEqual([]);
  expect(second.subscribed).toEqual(["metrics:web-1"]);
});

test("a second provider on a QueryClient is refused", () => {
  const queryClient = new QueryClient();
  const complain = vi.spyOn(console, "error").mockReturnValue();
  expect(() =>
    render(
      <QueryClientProvider client={queryClient}>
        <FleetcastProvider client={fakeClient()}>
          <FleetcastProvider client={fakeClient()} />
        </FleetcastProvider>
      </QueryClientProvider>,
    ),
  ).toThrow("one FleetcastProvider");
  complain.mockRestore();
});
