import { describe, expect, it } from "vitest";
import { commandOf } from "../../src/containers/keys.ts";
import { viewOf, withView } from "../../src/containers/view.ts";

describe("the view in the URL", () => {
  it("leaves out what is as usual, and keeps what is not its own", () => {
    const params = new URLSearchParams("minutes=60&sort=-cpu&q=web");
    const back = withView(params, { ...viewOf(params), sort: "name", descending: false, query: "" });
    expect(back.toString()).toBe("minutes=60");
  });

  it("comes back as it was written", () => {
    const view = {
      query: "a b&c",
      state: "stopped",
      health: "unhealthy",
      host: "node-1",
      sort: "memory",
      descending: true,
      group: "none",
    } as const;
    expect(viewOf(new URLSearchParams(withView(new URLSearchParams(), view).toString()))).toEqual(view);
  });

  it("takes what it does not understand as not said", () => {
    expect(viewOf(new URLSearchParams("state=melting&sort=-colour&group=x&host="))).toEqual(
      viewOf(new URLSearchParams()),
    );
  });
});

describe("a key on a row", () => {
  const press = (key: string, more = {}) => ({
    key,
    ctrlKey: false,
    metaKey: false,
    altKey: false,
    shiftKey: false,
    ...more,
  });

  it("moves within the list", () => {
    expect(commandOf(press("ArrowDown"), 4, 5, true)).toMatchObject({ kind: "move", to: 4 });
    expect(commandOf(press("ArrowUp", { shiftKey: true }), 4, 5, true)).toEqual({ kind: "move", to: 3, extend: true });
    expect(commandOf(press("End"), 0, 5, true)).toMatchObject({ to: 4 });
  });

  it("does what it says in the tips", () => {
    const kinds = [" ", "Enter", "r", "s", "m"].map((key) => commandOf(press(key), 0, 5, true)?.kind);
    expect(kinds).toEqual(["toggle", "open", "restart", "start-stop", "menu"]);
  });

  it("leaves Space and Enter to the control that has the focus", () => {
    expect(commandOf(press(" "), 0, 5, false)).toBeNull();
    expect(commandOf(press("Enter"), 0, 5, false)).toBeNull();
  });

  it("leaves the browser its own", () => {
    expect(commandOf(press("r", { ctrlKey: true }), 0, 5, true)).toBeNull();
    expect(commandOf(press("ArrowLeft", { altKey: true }), 0, 5, true)).toBeNull();
  });
});
