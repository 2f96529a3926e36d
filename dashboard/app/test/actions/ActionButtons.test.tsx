// @vitest-environment happy-dom
import { act, cleanup, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, describe, expect, it } from "vitest";
import { ActionButtons } from "../../src/actions/ActionButtons.tsx";
import { renderInFleet } from "./fleet.tsx";
import { container } from "./support.ts";

afterEach(cleanup);

const ID = "c".repeat(64);
const web = container({ id: ID });

/** Once the roster is there, which comes before anything is allowed. */
function button(name: string): Promise<HTMLElement> {
  return waitFor(() => {
    const found = screen.getByRole("button", { name });
    expect(found.getAttribute("aria-description") ?? "").not.toContain("not known");
    return found;
  });
}

describe("the buttons of a container", () => {
  it("asks before a restart, naming the container and its host, and does nothing when it is cancelled", async () => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={web} />);
    fireEvent.click(await button("Restart"));
    const dialog = await screen.findByRole("alertdialog", { name: "Restart web on node-1?" });
    fireEvent.click(within(dialog).getByRole("button", { name: "Cancel" }));
    expect(screen.queryByRole("alertdialog")).toBeNull();
    expect(asked).toEqual([]);
  });

  it("shows the stages in place, and success only when the executor has said so", async () => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={web} />);
    fireEvent.click(await button("Restart"));
    fireEvent.click(await screen.findByRole("button", { name: "Restart web" }));
    expect(asked[0]?.request.expect).toEqual({ id: ID, state: "running", startedAt: 2_000 });
    await screen.findByText(/sent, no answer yet/);
    act(() => asked[0]?.ack("accepted"));
    await screen.findByText(/waits for its turn/);
    act(() => asked[0]?.ack("running"));
    await screen.findByText(/Docker is being asked just now/);
    expect(screen.queryByText(/restarted/)).toBeNull();
    await act(async () => asked[0]?.settle({ status: "succeeded", durationMs: 400 }));
    await screen.findByText("Restart of web on node-1: restarted in 0.4 s.", { selector: "span" });
  });

  it("keeps bad news until it is dismissed", async () => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={container({ id: ID, state: "exited" })} />);
    fireEvent.click(await button("Start"));
    await act(async () => asked[0]?.settle({ status: "unknown", error: "the executor was restarted" }));
    await screen.findByText(/Look before you try again/, { selector: "span" });
    fireEvent.click(screen.getByRole("button", { name: "Dismiss: unknown" }));
    expect(screen.queryByText(/Look before you try again/, { selector: "span" })).toBeNull();
  });

  it("starts without asking, once for two clicks, and says that it is under way", async () => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={container({ id: ID, state: "exited" })} />);
    const start = await button("Start");
    fireEvent.click(start);
    fireEvent.click(start);
    expect(asked).toHaveLength(1);
    await waitFor(() =>
      expect(screen.getByRole("button", { name: "Start" }).getAttribute("aria-description")).toBe("start is under way"),
    );
  });

  it("tells the outcome aloud, once and politely", async () => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={container({ id: ID, state: "exited" })} />);
    fireEvent.click(await button("Start"));
    const live = screen.getByRole("status");
    expect(live.getAttribute("aria-live")).toBe("polite");
    await act(async () => asked[0]?.settle({ status: "rejected", error: "the container is protected" }));
    await waitFor(() => expect(live.textContent).toContain("Start of web on node-1 was refused"));
  });

  it.each([
    ["a viewer", { role: "viewer" as const }, web, "viewer"],
    ["a protected container", {}, container({ id: ID, protected: true }), "protected"],
    ["a host without an executor", { executor: "gone" as const }, web, "executor gone: silent"],
  ])("is off for %s, stays in reach of the keyboard and says why", async (_, fleet, of, why) => {
    const { asked } = renderInFleet(<ActionButtons host="node-1" container={of} />, fleet);
    const restart = await button("Restart");
    await waitFor(() => expect(restart.getAttribute("aria-description")).toContain(why));
    expect(restart.getAttribute("aria-disabled")).toBe("true");
    restart.focus();
    expect(document.activeElement).toBe(restart);
    fireEvent.click(restart);
    expect(screen.queryByRole("alertdialog")).toBeNull();
    expect(asked).toEqual([]);
  });
});
