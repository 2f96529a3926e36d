// @vitest-environment happy-dom
import { act, renderHook } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Row } from "../../src/containers/rows.ts";
import { inBaseOrder, type SortKey } from "../../src/containers/sort.ts";
import { createUsageBoard, UsageBoardContext } from "../../src/containers/usage.ts";
import { useOrder } from "../../src/containers/useOrder.ts";
import { id } from "../actions/support.ts";
import { row, usage } from "./support.ts";

const rows = [
  row({ id: id(3), name: "c", restartCount: 1 }),
  row({ id: id(1), name: "a", restartCount: 1, health: "healthy" }),
  row({ id: id(4), name: "d", restartCount: 5, health: "unhealthy" }),
  row({ id: id(2), name: "b", restartCount: 1 }),
];

const board = createUsageBoard();
let held = false;

function order(sort: SortKey, descending: boolean, of: readonly Row[] = rows) {
  const wrapper = ({ children }: { readonly children: ReactNode }) => (
    <UsageBoardContext value={board}>{children}</UsageBoardContext>
  );
  const { result } = renderHook(
    () => useOrder({ rows: of, sort, descending, onSort: () => undefined, held: () => held }),
    { wrapper },
  );
  return () => result.current.ordered.map((one) => one.container.name).join("");
}

beforeEach(() => {
  vi.useFakeTimers();
  held = false;
  board.put({ "node-1": usage({ [id(1)]: [1, 10], [id(2)]: [2, 20], [id(3)]: [3, 30] }) });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the order", () => {
  it("is by name, and by name among equals in either direction", () => {
    expect(order("name", false)()).toBe("abcd");
    expect(order("name", true)()).toBe("dcba");
    expect(order("restarts", false)()).toBe("abcd");
    expect(order("restarts", true)()).toBe("dabc");
  });

  it("has what is not known last in either direction", () => {
    expect(order("health", true)()).toBe("dabc");
    expect(order("health", false)()).toBe("adbc");
    expect(order("cpu", true)()).toBe("cbad");
    expect(order("memory", false)()).toBe("abcd");
  });

  it("tells the same names on two hosts apart for good", () => {
    const twins = [row({ id: id(2), name: "a" }, "node-10"), row({ id: id(1), name: "a" }, "node-2")];
    expect(inBaseOrder(twins).map(({ host }) => host)).toEqual(["node-2", "node-10"]);
    expect(inBaseOrder(twins.toReversed()).map(({ host }) => host)).toEqual(["node-2", "node-10"]);
  });

  it("follows live values every five seconds, and not while somebody points at the list", () => {
    const names = order("cpu", true);
    const put = (cpu: number) => act(() => board.put({ "node-1": usage({ [id(1)]: [cpu, 0], [id(2)]: [2, 0] }) }));
    put(9);
    expect(names()).toBe("cbad");
    held = true;
    act(() => vi.advanceTimersByTime(5_000));
    expect(names()).toBe("cbad");
    held = false;
    act(() => vi.advanceTimersByTime(4_999));
    expect(names()).toBe("cbad");
    act(() => vi.advanceTimersByTime(1));
    expect(names()).toBe("abcd");
  });
});
