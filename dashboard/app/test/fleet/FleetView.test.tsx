// @vitest-environment happy-dom
import type { HostStatus } from "@fleetcast/client";
import { act, cleanup, fireEvent, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FleetView } from "../../src/fleet/FleetView.tsx";
import { containersOf, fakeClient, hostGone, hostStatus, link, metricsOf, renderWith } from "./support.tsx";

beforeEach(() => {
  vi.useFakeTimers();
  window.history.replaceState(null, "", "/");
  vi.spyOn(Element.prototype, "getBoundingClientRect").mockReturnValue(new DOMRect(0, 0, 900, 200));
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function shown(
  hosts: readonly HostStatus[],
  push: (fake: ReturnType<typeof fakeClient>) => void = () => undefined,
) {
  const fake = fakeClient();
  renderWith(fake.client, <FleetView />);
  await settle(); // containers are asked for after a moment
  await settle(() => {
    fake.push("hosts", { type: "hosts", hosts });
    push(fake);
  });
  return fake;
}

/** What was pushed has come to the page. */
async function settle(act_: () => void = () => undefined, ms = 1_000) {
  await act(async () => {
    act_();
    await vi.advanceTimersByTimeAsync(ms);
  });
}

function hostNames(): readonly (string | null)[] {
  return screen.queryAllByRole("link").map((one) => one.textContent);
}

function tileOf(host: string): HTMLElement {
  const tile = screen.getByRole("link", { name: host }).closest("li");
  if (tile === null) throw new Error(`no tile of ${host}`);
  return tile;
}

describe("the fleet", () => {
  it("says how a collector is started where there is no host", async () => {
    await shown([]);
    expect(screen.getByText("No hosts yet")).toBeTruthy();
    expect(screen.getByText(/fleetcast collector metrics/)).toBeTruthy();
  });

  it("shows a host's values with their units, and leads to it", async () => {
    await shown([hostStatus("web-1")], ({ push }) => {
      push("metrics", metricsOf("web-1", 42));
      push("containers", containersOf("web-1", 3, 1, 2));
    });
    const tile = tileOf("web-1");
    expect(within(tile).getByText(/^42.%$/)).toBeTruthy();
    expect(within(tile).getByText("4/6")).toBeTruthy();
    expect(within(tile).getByText("1 container unhealthy")).toBeTruthy();
    expect(screen.getByRole("link", { name: "web-1" }).getAttribute("href")).toBe("/hosts/web-1");
    expect(within(tile).getByRole("meter", { name: "Disk /" }).getAttribute("aria-valuenow")).toBe("50");
  });

  it("greys what a broken link brought, and names the link and the age", async () => {
    const links = { metrics: link("gone", "silent"), containers: link(), executor: link() };
    await shown([hostStatus("web-1", { links })], ({ push }) => push("metrics", metricsOf("web-1", 42)));
    const tile = tileOf("web-1");
    expect(within(tile).getByText("metrics collector gone: silent")).toBeTruthy();
    expect(
      within(tile)
        .getByText(/^42.%$/)
        .closest("[data-stale=true]"),
    ).not.toBeNull();
    expect(tile.querySelector("time")).not.toBeNull();
  });

  it("greys everything while this page has no connection, and says so", async () => {
    const fake = await shown([hostStatus("web-1")], ({ push }) => push("metrics", metricsOf("web-1", 42)));
    expect(tileOf("web-1").querySelector("div[data-stale=true]")).toBeNull();
    await settle(() => fake.setStatus({ state: "waiting" }));
    expect(within(tileOf("web-1")).getByText("this page has lost its connection")).toBeTruthy();
    expect(tileOf("web-1").querySelector("div[data-stale=true]")).not.toBeNull();
  });

  it("mutes a host that is off and may be, and does not count it as trouble", async () => {
    await shown([hostGone("lab-1", { expected: "sometimes" }), hostGone("web-1")]);
    expect(tileOf("lab-1").dataset["condition"]).toBe("muted");
    expect(tileOf("web-1").dataset["condition"]).toBe("bad");
    expect(screen.getByText("in trouble").nextElementSibling?.textContent).toBe("1");
  });

  it("keeps search, filter and order in the URL", async () => {
    await shown([hostStatus("web-1"), hostStatus("db-1"), hostGone("web-2")]);
    expect(hostNames()).toEqual(["web-2", "db-1", "web-1"]);
    await settle(() => {
      fireEvent.change(screen.getByRole("searchbox"), { target: { value: "web" } });
    });
    expect(hostNames()).toEqual(["web-2", "web-1"]);
    await settle(() => {
      fireEvent.click(screen.getByRole("radio", { name: "In trouble" }));
    });
    expect(hostNames()).toEqual(["web-2"]);
    expect(window.location.search).toBe("?q=web&show=trouble");
  });

  it("follows live values every five seconds, but not while somebody points at it", async () => {
    window.history.replaceState(null, "", "/?sort=cpu");
    const fake = await shown([hostStatus("a"), hostStatus("b")], ({ push }) => {
      push("metrics", metricsOf("a", 90));
      push("metrics", metricsOf("b", 10));
    });
    await settle(undefined, 5_000);
    expect(hostNames()).toEqual(["a", "b"]);
    screen.getByRole("link", { name: "a" }).focus();
    await settle(() => fake.push("metrics", metricsOf("a", 1)), 10_000);
    expect(hostNames()).toEqual(["a", "b"]);
    screen.getByRole("link", { name: "a" }).blur();
    await settle(undefined, 5_000);
    expect(hostNames()).toEqual(["b", "a"]);
  });

  it("is walked through with the arrow keys, with one stop for the tab key", async () => {
    await shown(["a", "b", "c", "d"].map((host) => hostStatus(host)));
    const [first] = screen.getAllByRole("link");
    first?.focus();
    await settle(() => {
      fireEvent.keyDown(document.activeElement ?? document.body, { key: "ArrowRight" });
    });
    expect(document.activeElement?.textContent).toBe("b");
    await settle(() => {
      fireEvent.keyDown(document.activeElement ?? document.body, { key: "End" });
    });
    expect(document.activeElement?.textContent).toBe("d");
    expect(screen.getAllByRole("link").filter((one) => one.tabIndex === 0)).toHaveLength(1);
  });

  it("renders and asks for the history of those on the screen alone", async () => {
    const hosts = Array.from({ length: 500 }, (_, number) => hostStatus(`web-${number}`));
    const fake = await shown(hosts);
    const asked = () => fake.asked.filter((path) => path.includes("/history"));
    expect(asked()).toEqual([]); // what is now comes first
    await settle(() => {
      for (const { host } of hosts) fake.push("metrics", metricsOf(host));
    });
    expect(screen.getAllByRole("link").length).toBeLessThan(60);
    const histories = asked();
    expect(histories.length).toBeGreaterThan(0);
    expect(histories.length).toBeLessThanOrEqual(4);
    expect(tileOf("web-0").getAttribute("aria-setsize")).toBe("500");
  });

  it("renders a tile again for its own messages only", async () => {
    const fake = await shown([hostStatus("a"), hostStatus("b")]);
    const other = tileOf("b").innerHTML;
    const watch = new MutationObserver(() => undefined);
    watch.observe(tileOf("b"), { subtree: true, childList: true, characterData: true, attributes: true });
    await settle(() => fake.push("metrics", metricsOf("a", 42)));
    expect(within(tileOf("a")).getByText(/^42.%$/)).toBeTruthy();
    expect(watch.takeRecords()).toEqual([]);
    expect(tileOf("b").innerHTML).toBe(other);
  });
});
