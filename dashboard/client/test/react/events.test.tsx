// @vitest-environment happy-dom
import { Fragment } from "react";
import { expect, test } from "vitest";
import { FleetcastError } from "../../src/errors.ts";
import { useEvents } from "../../src/react/index.ts";
import { event, fakeClient } from "./fakeClient.ts";
import { fakeTime, now, openPage, pass } from "./harness.tsx";

fakeTime();

function Events({ host }: { readonly host?: string }) {
  const { data } = useEvents(host);
  return <i>{data?.map(({ at }) => at).join(",") ?? "-"}</i>;
}

test("events begin from those that were before, and each comes once and in order", async () => {
  const client = fakeClient();
  client.respond = async () => ({ events: [event("web-1", 1), event("web-1", 2), event("web-1", 3)] });
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "open" }));
  client.push("events", event("web-1", 3));
  client.push("events", event("web-1", 4));
  await pass(200);
  expect(page.text()).toBe("-");
  await pass(400);
  expect(client.asked).toEqual(["/api/events/last?limit=200"]);
  expect(page.text()).toBe("1,2,3,4");
  client.push("events", event("web-1", 5));
  client.push("events", event("web-1", 6));
  await pass(300);
  expect(page.text()).toBe("1,2,3,4,5,6");
});

test("a connection that is open asks for earlier events as soon as it may, whatever else changes of it", async () => {
  const client = fakeClient();
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "open" }));
  await pass(250);
  now(() => client.become({ latencyMs: 4 }));
  expect(client.asked).toEqual([]);
  await pass(60);
  expect(client.asked).toEqual(["/api/events/last?limit=200"]);
  page.leave();
});

test("a host's events are asked of the host", async () => {
  const client = fakeClient();
  client.respond = async () => ({ host: "web-1", events: [event("web-1", 1)] });
  const page = openPage(<Events host="web-1" />, client);
  now(() => client.become({ state: "open" }));
  await pass(400);
  expect(client.asked).toEqual(["/api/hosts/web-1/events?limit=200"]);
  expect(page.text()).toBe("1");
});

test("events of the time without a connection, which the client brings, find their place unasked", async () => {
  const client = fakeClient();
  client.respond = async () => ({ events: [event("web-1", 1)] });
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "open" }));
  await pass(1_000);
  now(() => client.become({ state: "waiting" }));
  await pass(5_000);
  now(() => client.become({ state: "open" }));
  expect(page.queryClient.isFetching()).toBe(0);
  client.push("events", event("web-1", 3));
  client.push("events", event("web-1", 2));
  await pass(1_000);
  expect(client.asked).toHaveLength(1);
  expect(page.text()).toBe("1,2,3");
});

test("events that were asked for without a connection are asked for again when there is one", async () => {
  const client = fakeClient();
  client.respond = async () => ({ events: [event("web-1", 1)] });
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "waiting" }));
  await pass(1_000);
  expect(page.text()).toBe("1");
  client.respond = async () => ({ events: [event("web-1", 1), event("web-1", 2)] });
  now(() => client.become({ state: "open" }));
  client.push("events", event("web-1", 3));
  await pass(1_000);
  expect(client.asked).toHaveLength(2);
  expect(page.text()).toBe("1,2,3");
});

test("a page that comes back after long asks for the events it has missed, whatever its stale time", async () => {
  const client = fakeClient();
  client.respond = async () => ({ events: [event("web-1", 1)] });
  const page = openPage(<Events />, client);
  page.queryClient.setDefaultOptions({ queries: { staleTime: 600_000 } });
  now(() => client.become({ state: "open" }));
  await pass(1_000);
  page.show(<Fragment />);
  await pass(10_000);
  client.respond = async () => ({ events: [event("web-1", 1), event("web-1", 2)] });
  page.show(<Events />);
  await pass(1_000);
  expect(page.text()).toBe("1,2");
});

test("earlier events are asked for again where the connection opened while the answer was on its way", async () => {
  const client = fakeClient();
  const answers: ((answer: unknown) => void)[] = [];
  client.respond = () => new Promise((resolve) => answers.push(resolve));
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "waiting" }));
  await pass(0);
  expect(answers).toHaveLength(1);
  now(() => client.become({ state: "open" }));
  answers[0]?.({ events: [event("web-1", 1)] });
  await pass(400);
  expect(answers).toHaveLength(2);
  answers[1]?.({ events: [event("web-1", 1), event("web-1", 2)] });
  await pass(300);
  expect(page.text()).toBe("1,2");
});

test("pushed events are shown where earlier ones cannot be had yet, and are asked for until they come", async () => {
  const client = fakeClient();
  client.respond = async () => {
    throw new FleetcastError("not yet", 503, "unavailable");
  };
  const page = openPage(<Events />, client);
  now(() => client.become({ state: "open" }));
  client.push("events", event("web-1", 8));
  await pass(700);
  expect(page.text()).toBe("8");
  client.respond = async () => ({ events: [event("web-1", 7), event("web-1", 8)] });
  await pass(5_000);
  expect(page.text()).toBe("7,8");
});
