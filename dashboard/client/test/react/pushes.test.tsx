// @vitest-environment happy-dom
import { Fragment } from "react";
import { expect, test } from "vitest";
import { fleetcastKeys, useHosts, useMetrics } from "../../src/react/index.ts";
import { fakeClient, metrics, roster } from "./fakeClient.ts";
import { fakeTime, now, openPage, pass, setHidden } from "./harness.tsx";

fakeTime();

function Cpu({ host, onRender }: { readonly host: string; readonly onRender?: (host: string) => void }) {
  const { data } = useMetrics(host);
  onRender?.(host);
  return <i>{`${host}:${data?.data.cpu.percent ?? "-"} `}</i>;
}

function Problem({ host }: { readonly host: string }) {
  return <i>{useMetrics(host).error?.message ?? "-"}</i>;
}

function Hosts() {
  const { data } = useHosts();
  return <i>{data?.hosts.map(({ host }) => host).join(",") ?? "-"}</i>;
}

function EveryHost() {
  const { data, isPending } = useMetrics();
  return <i>{isPending ? "pending" : Object.keys(data ?? {}).join(",")}</i>;
}

test("a component subscribes its host's channel once, in strict mode too, and shows what is pushed", async () => {
  const page = openPage(<Cpu host="web-1" />);
  now(() => page.client.become({ state: "open" }));
  expect(page.client.subscribed).toEqual(["metrics:web-1"]);
  page.client.push("metrics:web-1", metrics("web-1", 7));
  await pass(300);
  expect(page.text()).toBe("web-1:7 ");
  expect(page.client.asked).toEqual([]);
});

test("two components of one key share a subscription", () => {
  const page = openPage(
    <>
      <Cpu host="web-1" />
      <Cpu host="web-1" />
    </>,
  );
  expect(page.client.subscribed).toEqual(["metrics:web-1"]);
});

test("the cache is written at most four times a second, and ends at the newest", async () => {
  const page = openPage(<Cpu host="web-1" />);
  let writes = 0;
  page.queryClient.getQueryCache().subscribe((change) => {
    writes += change.type === "updated" && change.action.type === "success" && change.action.manual ? 1 : 0;
  });
  now(() => page.client.become({ state: "open" }));
  for (let seq = 1; seq <= 100; seq += 1) {
    page.client.push("metrics:web-1", metrics("web-1", seq));
    await pass(20);
  }
  await pass(250);
  expect(writes).toBeGreaterThanOrEqual(8);
  expect(writes).toBeLessThanOrEqual(10);
  expect(page.text()).toBe("web-1:100 ");
});

test("a hidden page is written once a second, and at once when it is seen again", async () => {
  const page = openPage(<Cpu host="web-1" />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  await pass(300);
  setHidden(true);
  page.client.push("metrics:web-1", metrics("web-1", 2));
  await pass(500);
  expect(page.text()).toBe("web-1:1 ");
  setHidden(false);
  await pass(0);
  expect(page.text()).toBe("web-1:2 ");
});

test("a message renders its own host only", async () => {
  const renders: Record<string, number> = {};
  const count = (host: string) => {
    renders[host] = (renders[host] ?? 0) + 1;
  };
  const page = openPage(
    <>
      <Cpu host="web-1" onRender={count} />
      <Cpu host="db-1" onRender={count} />
    </>,
  );
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  page.client.push("metrics:db-1", metrics("db-1", 1));
  await pass(300);
  const before = { ...renders };
  page.client.push("metrics:db-1", metrics("db-1", 2));
  await pass(300);
  expect(renders["web-1"]).toBe(before["web-1"]);
  expect(renders["db-1"]).toBeGreaterThan(before["db-1"] ?? 0);
});

test("all hosts at once are pushed, never asked for, and follow the roster", async () => {
  const page = openPage(<EveryHost />);
  now(() => page.client.become({ state: "open" }));
  expect([...page.client.subscribed].sort()).toEqual(["hosts", "metrics"]);
  page.client.push("hosts", roster("web-1", "db-1"));
  await pass(100);
  expect(page.text()).toBe("pending");
  page.client.push("metrics", metrics("web-1", 1));
  page.client.push("metrics", metrics("db-1", 1));
  await pass(300);
  expect(page.text()).toBe("web-1,db-1");
  const before = page.queryClient.getQueryData<Record<string, unknown>>(fleetcastKeys.metrics());
  page.client.push("hosts", roster("db-1"));
  await pass(300);
  expect(page.text()).toBe("db-1");
  const after = page.queryClient.getQueryData<Record<string, unknown>>(fleetcastKeys.metrics());
  expect(after?.["db-1"]).toBe(before?.["db-1"]);
  await pass(60_000);
  expect(page.client.asked).toEqual([]);
});

test("where no host has anything, all hosts are none a second after the roster", async () => {
  const page = openPage(<EveryHost />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("hosts", roster("web-1"));
  await pass(900);
  expect(page.text()).toBe("pending");
  await pass(400);
  expect(page.text()).toBe("");
});

test("going to another page and back within seconds does not subscribe anew, leaving for good ends it", async () => {
  const page = openPage(<Cpu host="web-1" />);
  now(() => page.client.become({ state: "open" }));
  const { length } = page.client.subscriptions;
  page.show(<Fragment />);
  await pass(4_000);
  page.client.push("metrics:web-1", metrics("web-1", 3));
  await pass(500);
  page.show(<Cpu host="web-1" />);
  expect(page.text()).toBe("web-1:3 ");
  expect(page.client.subscriptions).toHaveLength(length);
  page.show(<Fragment />);
  await pass(5_100);
  expect(page.client.subscribed).toEqual([]);
});

test("taking the provider away ends every subscription at once", async () => {
  const page = openPage(
    <>
      <Cpu host="web-1" />
      <EveryHost />
    </>,
  );
  page.leave();
  expect(page.client.subscribed).toEqual([]);
  expect(page.client.isClosed).toBe(false);
});

test("a host that nobody pushes is asked for, and what is wrong with it is told", async () => {
  const client = fakeClient();
  const page = openPage(<Problem host="gone" />, client);
  now(() => client.become({ state: "open" }));
  await pass(1_900);
  expect(client.asked).toEqual([]);
  await pass(200);
  expect(client.asked).toEqual(["/api/hosts/gone/metrics"]);
  expect(page.text()).toContain("nothing is known");
  await pass(60_000);
  expect(client.asked).toHaveLength(1);
});

test("an older answer does not replace what was pushed while it was on its way", async () => {
  const client = fakeClient();
  const answers = new Map<string, (answer: unknown) => void>();
  client.respond = (path) => new Promise((resolve) => answers.set(path, resolve));
  const page = openPage(
    <>
      <Cpu host="web-1" />
      <Hosts />
    </>,
    client,
  );
  now(() => client.become({ state: "waiting" }));
  await pass(0);
  expect(client.asked).toEqual(["/api/hosts/web-1/metrics", "/api/hosts"]);
  now(() => client.become({ state: "open" }));
  client.push("metrics:web-1", metrics("web-1", 9));
  client.push("hosts", roster("web-1", "new"));
  await pass(300);
  answers.get("/api/hosts/web-1/metrics")?.(metrics("web-1", 8));
  answers.get("/api/hosts")?.(roster("web-1"));
  await pass(300);
  expect(page.text()).toBe("web-1:9 web-1,new");
});

test("a component that comes while the connection is on its way waits for the push, for two seconds", async () => {
  const client = fakeClient();
  client.respond = async () => metrics("db-1", 1);
  const page = openPage(<Cpu host="web-1" />, client);
  await pass(1_000);
  now(() => client.become({ state: "open" }));
  client.push("metrics:web-1", metrics("web-1", 1));
  await pass(5_000);
  expect(client.asked).toEqual([]);
  now(() => client.become({ state: "connecting" }));
  page.show(<Cpu host="db-1" />);
  await pass(1_900);
  expect(client.asked).toEqual([]);
  await pass(200);
  expect(client.asked).toEqual(["/api/hosts/db-1/metrics"]);
});

test("what lies in the cache is the pushed message itself", async () => {
  const page = openPage(<Cpu host="web-1" />);
  now(() => page.client.become({ state: "open" }));
  page.client.push("metrics:web-1", metrics("web-1", 1));
  await pass(300);
  const message = metrics("web-1", 2);
  page.client.push("metrics:web-1", message);
  await pass(300);
  expect(page.queryClient.getQueryData(fleetcastKeys.metrics("web-1"))).toBe(message);
});

test("without a connection all hosts are pending, not wrong", async () => {
  const page = openPage(<EveryHost />);
  now(() => page.client.become({ state: "waiting" }));
  await pass(60_000);
  expect(page.text()).toBe("pending");
  expect(page.queryClient.getQueryState(fleetcastKeys.metrics())).toMatchObject({ error: null, fetchStatus: "idle" });
});
