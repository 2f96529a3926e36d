// @vitest-environment happy-dom
import type { Container, HostStatus } from "@fleetcast/client";
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Route } from "wouter";
import { HostView } from "../../src/host/HostView.tsx";
import { fakeClient, fakeScreen, hostStatus, NOW, pageAt } from "./page.tsx";

vi.mock("../../src/host/plot.ts", () => import("./fakePlot.ts"));
// Parts with tests of their own.
vi.mock("../../src/containers/ContainerTable.tsx", () => ({ ContainerTable: () => null }));
vi.mock("../../src/timeline/EventList.tsx", () => ({ EventList: () => null }));
vi.mock("../../src/actions/ActionButtons.tsx", () => ({ ActionButtons: () => null }));

const CONTAINER: Container = {
  ...{ id: "ab".repeat(32), name: "shop-db-1", image: "postgres:17", state: "running", status: "Up 3 minutes" },
  ...{ health: "healthy", createdAt: NOW, startedAt: NOW - 180_000, finishedAt: null, exitCode: null },
  ...{ oomKilled: false, restartCount: 2, project: "shop", service: "db", labels: { tier: "data" }, protected: false },
  ports: [{ ip: "127.0.0.1", hostPort: 5432, containerPort: 5432, protocol: "tcp" }],
};
const message = (type: string, data: unknown, sampledAt: number) => ({
  ...{ type, host: "web-2", epoch: 1, seq: 1, sampledAt, data },
});
const METRICS = {
  cpu: { percent: 12, perCorePercent: [4, 20], cores: 2, load: [0.5, 0.4, 0.3] },
  memory: { totalBytes: 8 * 1024 ** 3, usedBytes: 2 * 1024 ** 3, availableBytes: 6 * 1024 ** 3, percent: 25 },
  swap: { totalBytes: 0, usedBytes: 0, percent: 0 },
  disks: [
    { mount: "/", totalBytes: 1000, usedBytes: 100, percent: 10 },
    { mount: "/data", totalBytes: 1000, usedBytes: 900, percent: 90 },
  ],
  ...{ diskIo: { readBytesPerSec: 0, writeBytesPerSec: 0 }, network: [], temperatures: [] },
  ...{ uptimeSec: 3 * 86_400, processes: 77, stale: ["disks"] },
};

let view: ReturnType<typeof fakeScreen>;
beforeEach(() => {
  view = fakeScreen();
});
afterEach(cleanup);

async function open(url: string, hosts: readonly HostStatus[], sampledAt = NOW) {
  const client = fakeClient({
    hosts: { type: "hosts", hosts },
    "metrics:web-2": message("metrics", METRICS, sampledAt),
    "containers:web-2": message("containers", [CONTAINER], sampledAt),
    "processes:web-2": message("processes", PROCESSES, sampledAt),
  });
  const { page, where } = pageAt(url, client, <Route path="/hosts/:host" component={HostView} />);
  render(page);
  await screen.findAllByText(/live|gone|No host/);
  return where;
}

const PROCESSES = {
  byCpu: [{ pid: 7, name: "postgres", cpuPercent: 88, memoryBytes: 1024, containerId: CONTAINER.id }],
  byMemory: [{ pid: 8, name: "java", cpuPercent: 1, memoryBytes: 2048, containerId: null }],
};
const HOSTS = ["web-10", "web-2", "web-1"].map((host) => hostStatus(host));
const text = () => document.body.textContent.replaceAll("\u202f", " ");

it("says that a host is not known", async () => {
  await open("/hosts/web-3", HOSTS);
  await screen.findByText("No host of this name has been seen.");
});

it("shows the host as it is now, its fullest disk first, and names what was not read in time", async () => {
  await open("/hosts/web-2", HOSTS);
  await screen.findByText("CPU now");
  const disks = screen.getByRole("region", { name: "Disks" });
  expect(disks.querySelector("li")?.textContent).toContain("/data");
  expect(disks.dataset["stale"]).toBe("true");
  expect(disks.textContent).toContain("not read in time");
  expect(screen.getByRole("region", { name: "Memory now" }).dataset["stale"]).toBe("false");
  expect(screen.getByRole("img", { name: /2 cores, the busiest is core 1/ })).toBeTruthy();
  expect(text()).toContain("Uptime3 d");
});

it("leads to the hosts before and after it, with the same range", async () => {
  await open("/hosts/web-2?range=360&container=x", HOSTS);
  expect(screen.getByRole("link", { name: "previous host: web-1" }).getAttribute("href")).toBe(
    "/hosts/web-1?range=360",
  );
  expect(screen.getByRole("link", { name: "next host: web-10" }).getAttribute("href")).toBe("/hosts/web-10?range=360");
});

it("greys the last values of a host that is gone, and says how old they are and why", async () => {
  const gone = { state: "gone", reason: "silent" } as const;
  const links = { metrics: gone, containers: gone, executor: gone };
  await open("/hosts/web-2", [hostStatus("web-2", { status: "gone", links, lastSeenAt: NOW - 90_000 })], NOW - 90_000);
  await screen.findByText("CPU now");
  expect(screen.getByRole("region", { name: "Memory now" }).dataset["stale"]).toBe("true");
  expect(text()).toContain("The last values came 90 s ago: metrics collector gone: silent.");
  expect(text()).toContain("executor gone: silent");
});

it("asks for the processes only while they are on the screen, and links to their containers", async () => {
  await open("/hosts/web-2?range=60", HOSTS);
  expect(screen.queryByText("postgres")).toBeNull();
  act(() => view.show(true));
  await screen.findByText("postgres");
  const link = await screen.findByRole("link", { name: "shop-db-1" });
  expect(link.getAttribute("href")).toBe(`/hosts/web-2?range=60&container=${CONTAINER.id}`);
  fireEvent.click(screen.getByRole("radio", { name: "memory" }));
  expect(screen.getByText("java")).toBeTruthy();
  act(() => view.show(false));
  expect(screen.queryByText("java")).toBeNull();
});

it("opens a container's panel by the URL, and closes it by Escape", async () => {
  const where = await open(`/hosts/web-2?container=${CONTAINER.id.slice(0, 12)}`, HOSTS);
  const panel = await screen.findByRole("complementary", { name: "Container" });
  await screen.findByText("postgres:17");
  expect(document.activeElement).toBe(panel);
  for (const part of ["running, healthy", "127.0.0.1:5432 → 5432/tcp", "tier=data", "shop / db", CONTAINER.id])
    expect(panel.textContent).toContain(part);
  fireEvent.keyDown(panel, { key: "Escape" });
  expect(screen.queryByRole("complementary")).toBeNull();
  expect(where()).not.toContain("container");
});

it("says that a container is not there any more", async () => {
  await open("/hosts/web-2?container=feedfeedfeed", HOSTS);
  await screen.findByText("This container is not there any more.");
});

it("keeps the range in the URL", async () => {
  const where = await open("/hosts/web-2?range=60", HOSTS);
  expect((screen.getByRole("radio", { name: "1 h" }) as HTMLInputElement).checked).toBe(true);
  fireEvent.click(screen.getByRole("radio", { name: "24 h" }));
  expect(where()).toContain("range=1440");
  fireEvent.click(screen.getByRole("radio", { name: "15 min" }));
  expect(where()).not.toContain("range");
});
