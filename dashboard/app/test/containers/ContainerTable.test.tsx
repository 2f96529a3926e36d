// @vitest-environment happy-dom
import { act, cleanup, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ContainerTable } from "../../src/containers/ContainerTable.tsx";
import { renderInFleet } from "../actions/fleet.tsx";
import { container, id } from "../actions/support.ts";
import { containers, usage } from "./support.ts";

beforeEach(() => {
  window.innerWidth = 1280;
  window.history.replaceState(null, "", "/containers");
});
afterEach(cleanup);

const web = container({ id: id(1), name: "web-1", project: "shop", health: "healthy" });
const db = container({ id: id(2), name: "db-1", project: "shop", protected: true });
const old = container({ id: id(3), name: "old", state: "exited", exitCode: 0, finishedAt: 5_000 });
const FLEET = {
  containers: [containers([web, db]), containers([old], "node-2")],
  usage: [usage({ [id(1)]: [150, 512 * 1024 ** 2] })],
};

function rowOf(name: string): Promise<HTMLElement> {
  return waitFor(() => {
    const found = screen.getAllByRole("row").find((one) => one.dataset["key"] && within(one).queryByText(name));
    if (!found) throw new Error(`no row of ${name}`);
    return found;
  });
}

function names(): readonly (string | undefined)[] {
  return screen
    .getAllByRole("row")
    .slice(1)
    .map((one) => one.querySelector("a, button > span")?.textContent ?? undefined);
}

describe("the list of containers", () => {
  it("groups by project, those without one last, and leads to each container's place", async () => {
    renderInFleet(<ContainerTable />, FLEET);
    const row = await rowOf("web-1");
    await rowOf("old");
    expect(names()).toEqual(["shop", "db-1", "web-1", "No project", "old"]);
    const link = within(row).getByRole("link", { name: "web-1" });
    expect(link.getAttribute("href")).toBe(`/hosts/node-1?container=${id(1).slice(0, 12)}`);
  });

  it("shows what a container uses, by the host's cores and the limit", async () => {
    renderInFleet(<ContainerTable />, FLEET);
    const row = await rowOf("web-1");
    await within(row).findByText(/^150/);
    expect(within(row).getByRole("meter", { name: "CPU of web-1" }).getAttribute("aria-valuenow")).toBe("38");
    expect(within(row).getByRole("meter", { name: "Memory of web-1" }).getAttribute("aria-valuenow")).toBe("50");
  });

  it("has the search in the URL, and finds", async () => {
    renderInFleet(<ContainerTable />, FLEET);
    await rowOf("web-1");
    fireEvent.change(screen.getByRole("searchbox"), { target: { value: "old" } });
    await waitFor(() => expect(names()).toEqual(["No project", "old"]));
    expect(window.location.search).toBe("?q=old");
  });

  it("begins with what the URL says", async () => {
    window.history.replaceState(null, "", "/containers?group=none&sort=-name&state=running");
    renderInFleet(<ContainerTable />, FLEET);
    await rowOf("web-1");
    expect(names()).toEqual(["web-1", "db-1"]);
    expect(screen.getByRole("columnheader", { name: /Name/ }).getAttribute("aria-sort")).toBe("descending");
  });

  it("goes by the keyboard: moves, selects, and asks before a restart", async () => {
    const { asked } = renderInFleet(<ContainerTable />, FLEET);
    const group = await rowOf("shop");
    group.focus();
    fireEvent.keyDown(group, { key: "ArrowDown" });
    fireEvent.keyDown(await focused("db-1"), { key: "ArrowDown" });
    const row = await focused("web-1");
    fireEvent.keyDown(row, { key: " " });
    await waitFor(() => expect(row.getAttribute("aria-selected")).toBe("true"));
    fireEvent.keyDown(row, { key: "r" });
    await screen.findByRole("alertdialog", { name: "Restart web-1 on node-1?" });
    expect(asked).toEqual([]);
  });

  it("says why a key does nothing", async () => {
    renderInFleet(<ContainerTable />, FLEET);
    const row = await rowOf("db-1");
    row.focus();
    fireEvent.keyDown(row, { key: "r" });
    await screen.findByText(/^restart db-1: this container is protected/);
    expect(screen.queryByRole("alertdialog")).toBeNull();
  });

  it("offers for a selection what makes sense for it, and leaves out what is not possible", async () => {
    const { bulks, asked } = renderInFleet(<ContainerTable />, FLEET);
    await rowOf("old");
    fireEvent.click(screen.getByRole("checkbox", { name: "Select all 3" }));
    const bar = await screen.findByRole("region", { name: "Selected containers" });
    await waitFor(() => within(bar).getByRole("button", { name: "Restart 2…" }));
    fireEvent.click(within(bar).getByRole("button", { name: "Restart 2…" }));
    const dialog = await screen.findByRole("alertdialog", { name: "Restart 2 containers on 2 hosts?" });
    expect(
      within(dialog)
        .getAllByRole("listitem")
        .map((item) => item.textContent),
    ).toEqual(["web-1 on node-1", "old on node-2"]);
    expect(dialog.textContent).toContain("1 more is left out: this container is protected");
    fireEvent.click(within(dialog).getByRole("button", { name: "Restart 2" }));
    expect(bulks.map(({ targets }) => targets.map(({ containerId }) => containerId))).toEqual([[id(1), id(3)]]);
    const panel = await screen.findByRole("region", { name: "Restart of 2 containers" });
    await act(async () => asked[0]?.settle({ status: "rejected", error: "no" }));
    await waitFor(() => expect(panel.textContent).toContain("1 refused, 1 under way"));
  });

  it("acts on nothing that the filter hides", async () => {
    renderInFleet(<ContainerTable />, FLEET);
    await rowOf("old");
    fireEvent.click(screen.getByRole("checkbox", { name: "Select all 3" }));
    await screen.findByText("3 selected");
    fireEvent.change(screen.getByRole("searchbox"), { target: { value: "web" } });
    await screen.findByText("1 selected");
  });

  it("wants the number typed before many are removed", async () => {
    const { bulks } = renderInFleet(<ContainerTable />, {
      containers: [containers([old, container({ ...old, id: id(4), name: "older" })])],
    });
    await rowOf("older");
    fireEvent.click(screen.getByRole("checkbox", { name: "Select all 2" }));
    fireEvent.click(await screen.findByRole("button", { name: "Remove…" }));
    const dialog = await screen.findByRole("dialog", { name: "Remove 2 containers on node-1?" });
    fireEvent.submit(within(dialog).getByRole("textbox"));
    expect(bulks).toEqual([]);
    fireEvent.change(within(dialog).getByRole("textbox"), { target: { value: "2" } });
    fireEvent.submit(within(dialog).getByRole("textbox"));
    expect(bulks).toHaveLength(1);
  });
});

function focused(name: string): Promise<HTMLElement> {
  return waitFor(() => {
    const element = document.activeElement;
    if (!(element instanceof HTMLElement) || !within(element).queryByText(name))
      throw new Error(`${name} has no focus`);
    return element;
  });
}
