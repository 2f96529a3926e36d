// @vitest-environment happy-dom
import { act, render, screen } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import {
  type ContainerUsage,
  createUsageBoard,
  UsageBoardContext,
  usageOf,
  useUsageFigure,
} from "../../src/containers/usage.ts";
import { id } from "../actions/support.ts";
import { usage } from "./support.ts";

describe("usageOf", () => {
  it("finds a container by its id, and says nothing of one that is not there", () => {
    const message = usage({ [id(1)]: [12.5, null], [id(2)]: [50, 1024] });
    expect(usageOf(message, id(2))).toEqual({
      cpuPercent: 50,
      memoryBytes: 1024,
      memoryLimitBytes: 1024 ** 3,
      cores: 4,
    });
    expect(usageOf(message, id(1))?.memoryBytes).toBeNull();
    expect(usageOf(message, id(3))).toBeNull();
    expect(usageOf(undefined, id(1))).toBeNull();
  });
});

const cpuOf = (used: ContainerUsage) => used.cpuPercent;

describe("useUsageFigure", () => {
  it("renders again only where its own container's figure is another one", () => {
    const board = createUsageBoard();
    const renders: Record<string, number> = {};
    function Figure({ of }: { readonly of: string }) {
      renders[of] = (renders[of] ?? 0) + 1;
      return <p data-testid={of}>{useUsageFigure("node-1", of, cpuOf) ?? "none"}</p>;
    }
    render(
      <UsageBoardContext value={board}>
        <Figure of={id(1)} />
        <Figure of={id(2)} />
      </UsageBoardContext>,
    );
    act(() => board.put({ "node-1": usage({ [id(1)]: [1, 0], [id(2)]: [2, 0] }) }));
    act(() => board.put({ "node-1": usage({ [id(1)]: [1, 0], [id(2)]: [7, 0] }) }));
    expect(screen.getByTestId(id(2)).textContent).toBe("7");
    expect(renders).toEqual({ [id(1)]: 2, [id(2)]: 3 });
  });
});
