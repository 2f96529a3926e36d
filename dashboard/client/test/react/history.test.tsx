// @vitest-environment happy-dom
import { Fragment } from "react";
import { expect, test } from "vitest";
import { FleetcastError } from "../../src/errors.ts";
import { type HistoryOptions, useHistory } from "../../src/react/index.ts";
import { fakeClient } from "./fakeClient.ts";
import { fakeTime, openPage, pass } from "./harness.tsx";

fakeTime();

function Chart({ host, ...options }: HistoryOptions & { readonly host: string }) {
  const { data, error } = useHistory(host, options);
  return <i>{data === undefined ? (error?.message ?? "-") : data.host}</i>;
}

const hosts = Array.from({ length: 10 }, (_, i) => `h${i}`);

/** Requests that wait to be answered, as a slow edge has them. */
function slowClient() {
  const client = fakeClient();
  const open = new Map<string, { answer: () => void; signal: AbortSignal | undefined }>();
  client.respond = (path, signal) =>
    new Promise((resolve, reject) => {
      const host = path.split("/")[3] ?? "";
      const finish = (settle: () => void) => {
        open.delete(host);
        settle();
      };
      open.set(host, { answer: () => finish(() => resolve({ host, minutes: 15 })), signal });
      signal?.addEventListener("abort", () => finish(() => reject(signal.reason)));
    });
  return { client, open };
}

test("a history is asked for with all that was wanted of it", async () => {
  const client = fakeClient();
  client.respond = async () => ({ host: "web 1", minutes: 60 });
  const page = openPage(
    <Chart host="web 1" minutes={60} kind="usage" container="ab12" points={60} />,
    client,
    Fragment,
  );
  await pass(10);
  expect(client.asked).toEqual(["/api/hosts/web%201/history?minutes=60&kind=usage&container=ab12&points=60"]);
  expect(page.text()).toBe("web 1");
});

test("ten charts ask four at a time, and all are answered", async () => {
  const { client, open } = slowClient();
  const page = openPage(
    hosts.map((host) => <Chart key={host} host={host} minutes={15} />),
    client,
    Fragment,
  );
  await pass(10);
  expect(open.size).toBe(4);
  for (let answered = 0; answered < hosts.length; answered += 1) {
    const [first] = open.values();
    first?.answer();
    await pass(10);
    expect(open.size).toBe(Math.min(4, hosts.length - answered - 1));
  }
  expect(page.text()).toBe(hosts.join(""));
  expect(client.asked).toHaveLength(10);
});

test("what is not wanted any more is aborted or never asked for, and makes room", async () => {
  const { client, open } = slowClient();
  const page = openPage(
    hosts.map((host) => <Chart key={host} host={host} minutes={15} />),
    client,
    Fragment,
  );
  await pass(10);
  const signals = [...open.values()].map(({ signal }) => signal);
  page.show(<Chart host="h9" minutes={15} />);
  await pass(10);
  expect(signals.map((signal) => signal?.aborted)).toEqual([true, true, true, true]);
  expect([...open.keys()]).toEqual(["h9"]);
  expect(client.asked).toHaveLength(5);
  page.show(<Fragment />);
  await pass(10);
  expect(open.size).toBe(0);
});

test("an edge that is busy is asked again, later each time and never sooner than it wants", async () => {
  const client = fakeClient();
  const askedAt: number[] = [];
  client.respond = async () => {
    askedAt.push(Date.now());
    if (askedAt.length < 4) {
      throw new FleetcastError("ask again in a moment", 503, "unavailable", askedAt.length === 1 ? 7_000 : null);
    }
    return { host: "web-1", minutes: 15 };
  };
  const page = openPage(<Chart host="web-1" minutes={15} />, client, Fragment);
  await pass(60_000);
  expect(page.text()).toBe("web-1");
  const waits = askedAt.slice(1).map((at, i) => at - (askedAt[i] ?? 0));
  expect(waits[0]).toBeGreaterThanOrEqual(7_000);
  expect(waits[1]).toBeGreaterThanOrEqual(1_000);
  expect(waits[1]).toBeLessThanOrEqual(2_010);
  expect(waits[2]).toBeGreaterThanOrEqual(2_000);
  expect(waits[2]).toBeLessThanOrEqual(4_010);
});

test("what will not get better is not asked again", async () => {
  const page = openPage(<Chart host="gone" minutes={15} />, fakeClient(), Fragment);
  await pass(120_000);
  expect(page.client.asked).toHaveLength(1);
  expect(page.text()).toContain("nothing is known");
});

test("an answer of something else than an edge is an error", async () => {
  const client = fakeClient();
  client.respond = async () => "<html>sign in</html>";
  const page = openPage(<Chart host="web-1" minutes={15} />, client, Fragment);
  await pass(10);
  expect(page.text()).toContain("not of a Fleetcast edge");
});

test("it waits until it is enabled", async () => {
  const client = fakeClient();
  client.respond = async () => ({ host: "web-1", minutes: 15 });
  const page = openPage(<Chart host="web-1" minutes={15} enabled={false} />, client, Fragment);
  await pass(1_000);
  expect(client.asked).toEqual([]);
  page.show(<Chart host="web-1" minutes={15} enabled={true} />);
  await pass(10);
  expect(client.asked).toEqual(["/api/hosts/web-1/history?minutes=15"]);
});
