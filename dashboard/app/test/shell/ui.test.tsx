// @vitest-environment happy-dom
import { cleanup, fireEvent, screen } from "@testing-library/react";
import { useState } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isPlainKey } from "../../src/lib/keys.ts";
import { Button } from "../../src/ui/Button.tsx";
import { ConfirmDialog } from "../../src/ui/Dialog.tsx";
import { Menu } from "../../src/ui/Menu.tsx";
import { Meter } from "../../src/ui/Meter.tsx";
import { SearchField } from "../../src/ui/SearchField.tsx";
import { Segmented } from "../../src/ui/Segmented.tsx";
import { fakeClient, show } from "./fakeClient.tsx";

const { client } = fakeClient();
afterEach(cleanup);

describe("a button that cannot be pressed", () => {
  it("stays in reach of the keyboard, says why, and does nothing", () => {
    const pressed = vi.fn();
    show(
      <Button onClick={pressed} disabledReason="not now">
        Stop
      </Button>,
      client,
    );
    const button = screen.getByRole("button", { name: "Stop" });
    button.focus();
    expect(document.activeElement).toBe(button);
    expect(button.getAttribute("aria-disabled")).toBe("true");
    expect(button.getAttribute("aria-description")).toBe("not now");
    fireEvent.click(button);
    expect(pressed).not.toHaveBeenCalled();
  });
});

describe("a question before something is done", () => {
  const ask = (onConfirm: () => void, onOpenChange = vi.fn()) =>
    show(
      <ConfirmDialog
        open
        onOpenChange={onOpenChange}
        title="Kill redis-1 on web-2?"
        description="It has no time to save anything."
        confirmLabel="Kill redis-1"
        onConfirm={onConfirm}
        danger
      />,
      client,
    );

  it("has the focus on Cancel", () => {
    ask(vi.fn());
    expect(document.activeElement).toBe(screen.getByRole("button", { name: "Cancel" }));
  });

  it("does it only when the verb is pressed", () => {
    const confirmed = vi.fn();
    ask(confirmed);
    fireEvent.click(screen.getByRole("button", { name: "Cancel" }));
    expect(confirmed).not.toHaveBeenCalled();
    fireEvent.click(screen.getByRole("button", { name: "Kill redis-1" }));
    expect(confirmed).toHaveBeenCalledTimes(1);
  });
});

describe("a menu", () => {
  it("does not do what it says it cannot", () => {
    const [start, stop] = [vi.fn(), vi.fn()];
    const items = [
      { label: "Start", onSelect: start, disabledReason: "it is running already" },
      { label: "Stop", onSelect: stop },
    ];
    show(<Menu trigger={<Button>More</Button>} items={items} />, client);
    fireEvent.keyDown(screen.getByRole("button", { name: "More" }), { key: "Enter" });
    const blocked = screen.getByRole("menuitem", { name: /Start/ });
    expect(blocked.textContent).toContain("it is running already");
    fireEvent.click(blocked);
    expect(start).not.toHaveBeenCalled();
    fireEvent.click(screen.getByRole("menuitem", { name: "Stop" }));
    expect(stop).toHaveBeenCalledTimes(1);
  });
});

describe("a search field", () => {
  function Search() {
    const [value, setValue] = useState("abc");
    return <SearchField label="Search" value={value} onChange={setValue} shortcut="/" />;
  }

  it("is reached by its key from anywhere but a field", () => {
    show(<Search />, client);
    const field = screen.getByRole("searchbox");
    fireEvent.keyDown(document.body, { key: "/", ctrlKey: true });
    expect(document.activeElement).not.toBe(field);
    fireEvent.keyDown(document.body, { key: "/" });
    expect(document.activeElement).toBe(field);
  });

  it("is emptied by Escape, and left by another", () => {
    show(<Search />, client);
    const field = screen.getByRole<HTMLInputElement>("searchbox");
    field.focus();
    fireEvent.keyDown(field, { key: "Escape" });
    expect(field.value).toBe("");
    expect(document.activeElement).toBe(field);
    fireEvent.keyDown(field, { key: "Escape" });
    expect(document.activeElement).not.toBe(field);
  });
});

it("a key typed into a field, with a modifier or in a dialog is not the page's", () => {
  document.body.innerHTML = "<input><div role=dialog><button>x</button></div><p>y</p>";
  const asked: boolean[] = [];
  const listen = (event: KeyboardEvent) => asked.push(isPlainKey(event));
  document.addEventListener("keydown", listen);
  for (const name of ["input", "button", "p"]) {
    const element = document.querySelector(name);
    if (element) fireEvent.keyDown(element, { key: "g" });
  }
  fireEvent.keyDown(document.body, { key: "g", metaKey: true });
  document.removeEventListener("keydown", listen);
  document.body.innerHTML = "";
  expect(asked).toEqual([false, false, true, false]);
});

it("a meter says what is not known as not known", () => {
  show(<Meter percent={null} label="CPU" />, client);
  expect(screen.getByRole("meter", { name: "CPU" }).getAttribute("aria-valuetext")).toBe("not known");
});

it("one of a few is chosen like a radio button", () => {
  const chosen = vi.fn();
  const options = [
    { value: "a", label: "Alpha" },
    { value: "b", label: "Beta" },
  ] as const;
  show(<Segmented label="Letter" value="a" options={options} onChange={chosen} />, client);
  expect(screen.getByRole("group", { name: "Letter" })).toBeTruthy();
  fireEvent.click(screen.getByRole("radio", { name: "Beta" }));
  expect(chosen).toHaveBeenCalledWith("b");
});
