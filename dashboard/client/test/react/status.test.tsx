// @vitest-environment happy-dom
import { render } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { useFleetcast, useWebSocket } from "../../src/react/index.ts";
import { fakeClient } from "./fakeClient.ts";
import { fakeTime, now, openPage } from "./harness.tsx";

fakeTime();

function Connection({ onRender }: { readonly onRender?: (seen: string) => void }) {
  const { state, transport, latencyMs, session } = useWebSocket();
  const seen = `${state} ${transport} ${latencyMs ?? "-"} ${session?.user ?? "nobody"}`;
  onRender?.(seen);
  return <i>{seen}</i>;
}

function Wake() {
  const client = useFleetcast();
  return (
    <button type="button" onClick={client.reconnect}>
      try now
    </button>
  );
}

test("the connection's status is shown as it changes", () => {
  const page = openPage(<Connection />);
  expect(page.text()).toBe("connecting websocket - nobody");
  now(() => page.client.become({ state: "open", transport: "sse", latencyMs: 12 }));
  expect(page.text()).toBe("open sse 12 ada");
});

test("two components never see two statuses in one render", () => {
  const seen: string[] = [];
  const note = (what: string) => seen.push(what);
  const page = openPage(
    <>
      <Connection onRender={note} />
      <Connection onRender={note} />
    </>,
  );
  seen.length = 0;
  now(() => page.client.become({ state: "open" }));
  expect(new Set(seen).size).toBe(1);
});

test("a change between the first render and its effects is not missed", () => {
  const client = fakeClient();
  const openAtFirst = () => {
    if (client.status.state !== "open") {
      client.become({ state: "open" });
    }
  };
  const page = openPage(<Connection onRender={openAtFirst} />, client);
  expect(page.text()).toContain("open");
});

test("the client itself is at hand", () => {
  const page = openPage(<Wake />);
  page.client.become({ state: "waiting" });
  now(() => document.querySelector("button")?.click());
  expect(page.client.status.state).toBe("connecting");
});

test("without a provider it says what is missing", () => {
  const complain = vi.spyOn(console, "error").mockReturnValue();
  expect(() => render(<Connection />)).toThrow("need a FleetcastProvider");
  complain.mockRestore();
});
