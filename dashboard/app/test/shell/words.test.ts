import { describe, expect, it, vi } from "vitest";
import { atMostEvery } from "../../src/shell/announce.ts";
import { destinationOf, SEQUENCE_MS } from "../../src/shell/keyboard.ts";
import { checkToken } from "../../src/shell/token.ts";
import { faviconOf, pageName, spoken, titleOf } from "../../src/shell/trouble.ts";

describe("the title", () => {
  it("has the number of hosts in trouble, and the page's name", () => {
    expect(titleOf({ trouble: 0, lost: false }, null)).toBe("Fleetcast");
    expect(titleOf({ trouble: 2, lost: false }, "Containers")).toBe("(2) Containers – Fleetcast");
  });

  it("says of a lost connection that, and no number that may be old", () => {
    expect(titleOf({ trouble: 2, lost: true }, null)).toBe("⚠ Fleetcast");
  });

  it("names the host of a host's page", () => {
    expect(pageName("/hosts/web-1")).toBe("web-1");
    expect(pageName("/hosts/web%201")).toBe("web 1");
    expect(pageName("/hosts/%E0%A4%A")).toBe("%E0%A4%A");
    expect(pageName("/")).toBeNull();
  });
});

it("the icon looks different in trouble, without a connection, and when all is well", () => {
  const icons = [
    faviconOf({ trouble: 0, lost: false }),
    faviconOf({ trouble: 1, lost: false }),
    faviconOf({ trouble: 0, lost: true }),
  ];
  expect(new Set(icons).size).toBe(3);
  for (const icon of icons) expect(icon).toMatch(/^data:image\/svg\+xml,%3Csvg/);
});

it("what is spoken counts hosts in words", () => {
  expect(spoken({ trouble: 1, lost: false })).toContain("1 host is in trouble");
  expect(spoken({ trouble: 3, lost: false })).toContain("3 hosts are in trouble");
});

describe("announcements", () => {
  it("come at once, then at most every so often, and only the newest", () => {
    vi.useFakeTimers();
    const said: string[] = [];
    const announcer = atMostEvery(10_000, (text) => said.push(text));
    announcer.tell("one");
    announcer.tell("two");
    announcer.tell("three");
    expect(said).toEqual(["one"]);
    vi.advanceTimersByTime(10_000);
    expect(said).toEqual(["one", "three"]);
    vi.advanceTimersByTime(60_000);
    expect(said).toEqual(["one", "three"]);
    announcer.tell("three");
    expect(said).toEqual(["one", "three"]);
    announcer.tell("four");
    expect(said).toEqual(["one", "three", "four"]);
    announcer.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it("are not made of what came and went between two of them", () => {
    vi.useFakeTimers();
    const said: string[] = [];
    const announcer = atMostEvery(10_000, (text) => said.push(text));
    announcer.tell("well");
    announcer.tell("lost");
    announcer.tell("well");
    vi.advanceTimersByTime(30_000);
    expect(said).toEqual(["well"]);
    vi.useRealTimers();
  });
});

describe("a sequence of keys", () => {
  it("leads somewhere where the second comes in time", () => {
    expect(destinationOf({ key: "g", at: 0 }, { key: "c", at: 500 })).toBe("/containers");
    expect(destinationOf({ key: "g", at: 0 }, { key: "c", at: SEQUENCE_MS + 1 })).toBeNull();
    expect(destinationOf({ key: "x", at: 0 }, { key: "c", at: 1 })).toBeNull();
    expect(destinationOf(null, { key: "c", at: 1 })).toBeNull();
  });
});

describe("checkToken", () => {
  const jwt = (claims: object) => `aaa.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.sig`;

  it("takes a token as it is pasted, with blanks and with the word before it", () => {
    expect(checkToken(` Bearer ${jwt({ sub: "me" })}\n`, 0)).toEqual({ problem: null, token: jwt({ sub: "me" }) });
  });

  it("says of what can be none that it is none", () => {
    expect(checkToken("my password", 0).problem).toContain("no token");
    expect(checkToken("  ", 0).problem).toContain("Paste");
  });

  it("says when one has run out, without asking the edge", () => {
    expect(checkToken(jwt({ exp: 100 }), 100_000).problem).toContain("ran out");
    expect(checkToken(jwt({ exp: 101 }), 100_000).problem).toBeNull();
  });

  it("leaves what it cannot read to the edge", () => {
    expect(checkToken("a.b.c", 0).problem).toBeNull();
  });
});
