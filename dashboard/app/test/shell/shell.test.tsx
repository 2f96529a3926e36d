// @vitest-environment happy-dom
import { cleanup, fireEvent, screen, waitFor } from "@testing-library/react";
import { useRef, useState } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Banner } from "../../src/shell/Banner.tsx";
import { Connection } from "../../src/shell/Connection.tsx";
import { ErrorBoundary } from "../../src/shell/ErrorBoundary.tsx";
import { Glance } from "../../src/shell/Glance.tsx";
import { SignIn } from "../../src/shell/SignIn.tsx";
import { keepToken, token } from "../../src/shell/token.ts";
import { useFocusOnArrival } from "../../src/shell/useFocusOnArrival.ts";
import { fakeClient, show } from "./fakeClient.tsx";

const JWT = "aaa.e30.sig";
const problem = { code: 4401, message: "the sign-in has expired", at: 1 };

afterEach(() => {
  cleanup();
  sessionStorage.clear();
});

describe("the sign-in form", () => {
  it("keeps the token in this tab alone, and tries with it", () => {
    const { client, reconnect } = fakeClient({ state: "signed-out", session: null });
    show(<SignIn />, client);
    fireEvent.change(screen.getByLabelText("Token"), { target: { value: ` ${JWT} ` } });
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    expect(token()).toBe(JWT);
    expect(localStorage.length).toBe(0);
    expect(location.href).not.toContain(JWT);
    expect(reconnect).toHaveBeenCalledTimes(1);
  });

  it("asks the edge nothing where it can be no token", () => {
    const { client, reconnect } = fakeClient({ state: "signed-out", session: null });
    show(<SignIn />, client);
    fireEvent.change(screen.getByLabelText("Token"), { target: { value: "hello" } });
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    expect(screen.getByRole("alert").textContent).toContain("no token");
    expect(token()).toBeNull();
    expect(reconnect).not.toHaveBeenCalled();
  });

  it("says why the edge has turned a token down, and forgets it", () => {
    keepToken(JWT);
    const { client } = fakeClient({ state: "signed-out", lastError: problem });
    show(<SignIn />, client);
    expect(screen.getByRole("alert").textContent).toContain("the sign-in has expired");
    expect(token()).toBeNull();
  });

  it("accuses nobody who has not signed in yet", () => {
    const { client } = fakeClient({ state: "signed-out", session: null, lastError: problem });
    show(<SignIn />, client);
    expect(screen.getByRole("alert").textContent).toBe("");
  });

  it("has the focus in its field", () => {
    show(<SignIn />, fakeClient({ state: "signed-out" }).client);
    expect(document.activeElement).toBe(screen.getByLabelText("Token"));
  });
});

describe("the banner", () => {
  it("is not there while all is well", () => {
    const { container } = show(<Banner />, fakeClient().client);
    expect(container.textContent).toBe("");
  });

  it("says since when, why, and tries now when it is told to", () => {
    const { client, reconnect, set } = fakeClient();
    const { container } = show(<Banner />, client);
    const at = Date.now() - 12_000;
    set({ state: "waiting", retryAt: Date.now() + 60_000, lastError: { code: null, message: "no network", at } });
    const said = /Connection lost 1[23]\s*s ago: no network\. What you see is of \d\d:\d\d:\d\d/;
    expect(container.textContent).toMatch(said);
    const retried = { code: 502, message: "no network", at: Date.now() };
    set({ state: "connecting" });
    set({ state: "waiting", lastError: retried });
    expect(container.textContent).toMatch(said);
    fireEvent.click(screen.getByRole("button", { name: /Try now/ }));
    expect(reconnect).toHaveBeenCalledTimes(1);
  });
});

describe("the connection's details", () => {
  it("name the user, the edge and the transport", () => {
    show(<Connection />, fakeClient().client);
    fireEvent.click(screen.getByRole("button", { name: /^Connection: ?Live/ }));
    const details = screen.getByRole("dialog").textContent;
    expect(details).toContain("ops, operator");
    expect(details).toContain("edge-1");
    expect(details).toContain("WebSocket");
  });

  it("say how many frames one is behind", () => {
    const { client, set } = fakeClient();
    const { container } = show(<Connection />, client);
    expect(container.textContent).not.toContain("behind");
    set({ skippedFrames: 3 });
    expect(container.textContent).toContain("you are 3 frames behind");
  });

  it("offer to sign out only who has signed in", () => {
    show(<Connection />, fakeClient().client);
    fireEvent.click(screen.getByRole("button", { name: /^Connection: ?Live/ }));
    expect(screen.queryByRole("button", { name: "Sign out" })).toBeNull();
    cleanup();
    keepToken(JWT);
    show(<Connection />, fakeClient().client);
    fireEvent.click(screen.getByRole("button", { name: /^Connection: ?Live/ }));
    expect(screen.getByRole("button", { name: "Sign out" })).toBeTruthy();
  });
});

it("the title says when the connection is lost, and when it is back", async () => {
  const { client, set } = fakeClient();
  show(<Glance />, client);
  expect(document.title).toBe("Fleetcast");
  set({ state: "waiting" });
  expect(document.title).toBe("⚠ Fleetcast");
  await waitFor(() => expect(screen.getByRole("status").textContent).toContain("Connection lost"));
  set({ state: "open" });
  expect(document.title).toBe("Fleetcast");
});

describe("an error in a view", () => {
  it("stays in it, says what to do, and can be tried again", () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    let broken = true;
    function View() {
      if (broken) throw new Error("it broke");
      return <p>it works</p>;
    }
    const { container } = show(
      <>
        <p>the rest</p>
        <ErrorBoundary what="the Fleet view">
          <View />
        </ErrorBoundary>
      </>,
      fakeClient().client,
    );
    expect(container.textContent).toContain("the rest");
    expect(screen.getByRole("alert").textContent).toContain("it broke");
    expect(screen.getByRole("button", { name: "Reload the page" })).toBeTruthy();
    broken = false;
    fireEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(container.textContent).toContain("it works");
    expect(logged).toHaveBeenCalled();
    logged.mockRestore();
  });
});

it("a change of page takes the focus to its heading, the first page does not", () => {
  function Page() {
    const [path, go] = useState("/");
    const main = useRef<HTMLElement>(null);
    useFocusOnArrival(path, main);
    return (
      <main ref={main}>
        <h1>{path}</h1>
        <button type="button" onClick={() => go("/timeline")}>
          go
        </button>
      </main>
    );
  }
  show(<Page />, fakeClient().client);
  expect(document.activeElement).toBe(document.body);
  fireEvent.click(screen.getByRole("button"));
  expect(document.activeElement).toBe(screen.getByRole("heading", { name: "/timeline" }));
});
