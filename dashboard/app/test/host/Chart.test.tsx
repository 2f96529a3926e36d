// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Chart } from "../../src/host/Chart.tsx";
import { heldCrosshair } from "../../src/host/crosshair.ts";
import type { ChartSpec, Columns } from "../../src/host/spec.ts";
import { useChartGroup } from "../../src/host/useChartGroup.ts";
import { plots } from "./fakePlot.ts";
import { fakeScreen } from "./page.tsx";

vi.mock("../../src/host/plot.ts", () => import("./fakePlot.ts"));

const SPEC: ChartSpec = {
  ...{ id: "load", title: "Load", unit: "load", kind: "lines" },
  lines: [{ label: "load", color: 1 }],
};
const MINUTE = 60_000;
const COLUMNS: Columns = [
  [1 * MINUTE, 2 * MINUTE, 3 * MINUTE],
  [1, 2, 3],
];

function One({ columns = COLUMNS, drawKey = "1", stale = false }) {
  const group = useChartGroup("test", "host", 15, { min: 0, max: 3 * MINUTE });
  return (
    <>
      <p data-testid="zoomed">{String(group.zoomed)}</p>
      <Chart spec={SPEC} columns={columns} drawKey={drawKey} group={group} stale={stale} />
    </>
  );
}

let view: ReturnType<typeof fakeScreen>;
const see = () => act(() => view.show(true));
const slider = () => screen.getByRole("slider", { name: "Load over time" });
const legend = () => document.querySelector("dd")?.textContent;
const plot = () => plots.at(-1);

beforeEach(() => {
  plots.length = 0;
  view = fakeScreen();
});
afterEach(cleanup);

it("is made when it comes onto the screen, and goes with its place", () => {
  const { unmount } = render(<One />);
  expect(plots).toHaveLength(0);
  see();
  expect(plots).toHaveLength(1);
  unmount();
  expect(plot()?.destroyed).toBe(true);
});

it("draws the arrays as they are, again when they have changed, and not while nobody sees it", () => {
  const { rerender } = render(<One />);
  see();
  expect(plot()?.drawn).toHaveLength(1);
  expect(plot()?.drawn[0]?.[0]).toBe(COLUMNS);
  rerender(<One drawKey="1" />);
  expect(plot()?.drawn).toHaveLength(1);
  rerender(<One drawKey="2" />);
  expect(plot()?.drawn).toHaveLength(2);
  act(() => view.show(false));
  rerender(<One drawKey="3" />);
  expect(plot()?.drawn).toHaveLength(2);
  see();
  expect(plot()?.drawn).toHaveLength(3);
  expect(plots).toHaveLength(1);
});

it("shows the last value, that under the crosshair, and the last one again", () => {
  render(<One />);
  see();
  expect(legend()).toBe("3.00");
  act(() => plot()?.events.onCursor(0));
  expect(legend()).toBe("1.00");
  act(() => plot()?.events.onCursor(null));
  expect(legend()).toBe("3.00");
});

it("says in words what it shows", () => {
  render(<One />);
  see();
  expect(document.querySelector("figcaption")?.textContent).toBe("load: now 3.00, lowest 1.00, highest 3.00.");
});

it("moves the crosshair by the arrow keys, and says the time and the value there", () => {
  render(<One />);
  see();
  slider().focus();
  fireEvent.keyDown(slider(), { key: "ArrowLeft" });
  expect(heldCrosshair("test")).toBe(3 * MINUTE);
  fireEvent.keyDown(slider(), { key: "ArrowLeft" });
  expect(heldCrosshair("test")).toBe(2 * MINUTE);
  expect(slider().getAttribute("aria-valuetext")).toMatch(/^\d\d:02:00: load 2\.00$/);
  expect(legend()).toBe("2.00");
});

it("zooms by a drag and by keys, and is live again after Escape or a double click", () => {
  const zoomed = () => screen.getByTestId("zoomed").textContent;
  render(<One />);
  see();
  act(() => plot()?.events.onSelect(2 * MINUTE, MINUTE));
  expect(zoomed()).toBe("true");
  expect(plot()?.drawn.at(-1)?.[1]).toEqual({ min: MINUTE, max: 2 * MINUTE });
  fireEvent.keyDown(slider(), { key: "Escape" });
  expect(zoomed()).toBe("false");
  fireEvent.keyDown(slider(), { key: "+" });
  expect(plot()?.drawn.at(-1)?.[1]).toEqual({ min: 1.5 * MINUTE, max: 3 * MINUTE });
  act(() => plot()?.events.onDoubleClick());
  expect(zoomed()).toBe("false");
});

it("leaves keys that are not for it to the page", () => {
  render(<One />);
  see();
  for (const key of ["Escape", "ArrowUp", "Tab"]) expect(fireEvent.keyDown(slider(), { key })).toBe(true);
  expect(fireEvent.keyDown(slider(), { key: "ArrowLeft", ctrlKey: true })).toBe(true);
});
