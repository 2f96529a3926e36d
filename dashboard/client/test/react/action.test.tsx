// @vitest-environment happy-dom
import { onlineManager } from "@tanstack/react-query";
import { fireEvent, screen } from "@testing-library/react";
import { Fragment } from "react";
import { expect, test } from "vitest";
import { type ContainerActionState, fleetcastKeys, useContainerAction } from "../../src/react/index.ts";
import type { ActionRequest } from "../../src/types.ts";
import { fakeTime, now, openPage, pass } from "./harness.tsx";

fakeTime();

const RESTART: ActionRequest = { host: "web-1", containerId: "nginx", action: "restart" };

type Click = (action: ContainerActionState) => void;

function Restart({ onClick = ({ act }) => void act(RESTART) }: { readonly onClick?: Click }) {
  const action = useContainerAction();
  const { ack, status, data, error, variables } = action;
  return (
    <>
      <button type="button" onClick={() => onClick(action)}>
        restart
      </button>
      <button type="button" onClick={action.reset}>
        reset
      </button>
      <i data-testid="state">
        {[status, ack?.status ?? "-", data?.status ?? "-", error?.message ?? "-", variables?.containerId ?? "-"].join(
          " ",
        )}
      </i>
    </>
  );
}

const click = (name: string) => fireEvent.click(screen.getByRole("button", { name }));
const state = () => screen.getByTestId("state").textContent;

test("an action's stages are shown as they come, and success only with its outcome", async () => {
  const { client } = openPage(<Restart />);
  expect(state()).toBe("idle - - - -");
  click("restart");
  await pass(10);
  expect(client.actions.map(({ request }) => request)).toEqual([RESTART]);
  expect(state()).toBe("pending - - - nginx");
  now(() => client.actions[0]?.ack("accepted"));
  expect(state()).toBe("pending accepted - - nginx");
  now(() => client.actions[0]?.ack("running"));
  expect(state()).toBe("pending running - - nginx");
  now(() => client.actions[0]?.ack("succeeded"));
  client.actions[0]?.settle({ status: "succeeded" });
  await pass(10);
  expect(state()).toBe("success succeeded succeeded - nginx");
});

test.each(["failed", "expired", "rejected", "unknown"] as const)(
  "an action that ends %s is an error",
  async (status) => {
    const { client } = openPage(<Restart />);
    click("restart");
    await pass(10);
    client.actions[0]?.settle({ status, error: "no such luck" });
    await pass(10);
    expect(state()).toBe("error - - no such luck nginx");
  },
);

test("it is sent once, and at once, whatever the defaults of the page's mutations, offline too", async () => {
  const page = openPage(<Restart />);
  page.queryClient.setMutationDefaults(fleetcastKeys.actions(), { retry: 3, networkMode: "online" });
  page.show(<Restart onClick={({ mutate }) => mutate(RESTART)} />);
  onlineManager.setOnline(false);
  click("restart");
  await pass(10);
  page.client.actions[0]?.settle({ status: "unknown", error: "nobody can tell" });
  await pass(60_000);
  onlineManager.setOnline(true);
  expect(page.client.actions).toHaveLength(1);
  expect(state()).toContain("error");
});

test("a second action's stages are its own", async () => {
  const { client } = openPage(<Restart />);
  click("restart");
  await pass(10);
  now(() => client.actions[0]?.ack("running"));
  click("restart");
  await pass(10);
  expect(client.actions).toHaveLength(2);
  expect(state()).toBe("pending - - - nginx");
  now(() => client.actions[0]?.ack("succeeded"));
  client.actions[0]?.settle({});
  await pass(10);
  expect(state()).toBe("pending - - - nginx");
});

test("mutateAsync gives the outcome, or throws with it", async () => {
  const results: unknown[] = [];
  const onClick: Click = ({ mutateAsync }) => {
    mutateAsync(RESTART).then(
      (outcome) => results.push(outcome.status),
      (error) => results.push(error.outcome.status, error.request),
    );
  };
  const { client } = openPage(<Restart onClick={onClick} />);
  click("restart");
  await pass(10);
  now(() => client.actions[0]?.ack("accepted"));
  expect(state()).toBe("pending accepted - - nginx");
  client.actions[0]?.settle({});
  await pass(10);
  click("restart");
  await pass(10);
  client.actions[1]?.settle({ status: "expired" });
  await pass(10);
  expect(results).toEqual(["succeeded", "expired", RESTART]);
});

test("the handle that act returns outlives the component", async () => {
  const outcomes: string[] = [];
  const onClick: Click = ({ act }) => {
    void act(RESTART).outcome.then(({ status }) => outcomes.push(status));
  };
  const page = openPage(<Restart onClick={onClick} />);
  click("restart");
  await pass(10);
  page.show(<Fragment />);
  page.client.actions[0]?.settle({ status: "failed" });
  await pass(10);
  expect(outcomes).toEqual(["failed"]);
});

test("acting on many gives one handle a target, and leaves the mutation's state alone", async () => {
  const targets = [
    { host: "web-1", containerId: "a" },
    { host: "web-2", containerId: "b" },
  ];
  const onClick: Click = ({ actOnAll }) => {
    expect(actOnAll({ action: "stop", targets })).toHaveLength(2);
  };
  const { client } = openPage(<Restart onClick={onClick} />);
  click("restart");
  await pass(10);
  expect(client.actions.map(({ request }) => request)).toEqual(
    targets.map((target) => ({ action: "stop", ...target })),
  );
  expect(state()).toBe("idle - - - -");
});

test("reset forgets the last action", async () => {
  const { client } = openPage(<Restart />);
  click("restart");
  await pass(10);
  now(() => client.actions[0]?.ack("running"));
  click("reset");
  await pass(10);
  expect(state()).toBe("idle - - - -");
});

test("nothing in the cache changes for an action", async () => {
  const page = openPage(<Restart />);
  let changes = 0;
  page.queryClient.getQueryCache().subscribe(() => {
    changes += 1;
  });
  click("restart");
  await pass(10);
  page.client.actions[0]?.settle({});
  await pass(10);
  expect(changes).toBe(0);
});
