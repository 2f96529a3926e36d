import { describe, expect, it } from "vitest";
import { EMPTY_BOOK, GONE_MS, nextBook, nextLeaving } from "../../src/containers/rows.ts";
import { container, id } from "../actions/support.ts";
import { containers } from "./support.ts";

const a = container({ id: id(1), name: "a" });
const b = container({ id: id(2), name: "b" });

describe("nextBook", () => {
  it("keeps the rows of containers that are the same, though the message is new", () => {
    const before = nextBook(EMPTY_BOOK, { "node-1": containers([a, b]) }, 0);
    const message = containers(
      [
        { ...a, status: "Up 4 minutes" },
        { ...b, state: "paused" },
      ],
      "node-1",
      2,
    );
    const after = nextBook(before, { "node-1": message }, 1);
    expect(after.rows[0]).toBe(before.rows[0]);
    expect(after.rows[1]?.container.state).toBe("paused");
  });

  it("is the same list where nothing has changed", () => {
    const before = nextBook(EMPTY_BOOK, { "node-1": containers([a, b]) }, 0);
    const after = nextBook(before, { "node-1": containers([{ ...a }, { ...b, ports: [] }], "node-1", 2) }, 1);
    expect(after.rows).toBe(before.rows);
  });

  it("sees a change deep in a container", () => {
    const port = { ip: null, hostPort: null, containerPort: 80, protocol: "tcp" };
    const before = nextBook(EMPTY_BOOK, { "node-1": containers([{ ...a, ports: [port] }]) }, 0);
    const changed = containers([{ ...a, ports: [{ ...port, hostPort: 8080 }] }], "node-1", 2);
    expect(nextBook(before, { "node-1": changed }, 1).rows).not.toBe(before.rows);
  });

  it("says for a moment that a container is gone, and lets it go", () => {
    const there = nextBook(EMPTY_BOOK, { "node-1": containers([a, b]) }, 0);
    const messages = { "node-1": containers([a], "node-1", 2) };
    const gone = nextBook(there, messages, 1_000);
    expect(gone.rows.map((row) => [row.container.name, row.goneAt])).toEqual([
      ["a", null],
      ["b", 1_000],
    ]);
    expect(nextLeaving(gone)).toBe(1_000 + GONE_MS);
    expect(nextBook(gone, messages, 999 + GONE_MS).rows).toBe(gone.rows);
    const left = nextBook(gone, messages, 1_000 + GONE_MS);
    expect(left.rows.map((row) => row.container.name)).toEqual(["a"]);
    expect(nextLeaving(left)).toBeNull();
  });

  it("has a container back that was gone for a moment only", () => {
    const there = nextBook(EMPTY_BOOK, { "node-1": containers([a]) }, 0);
    const gone = nextBook(there, { "node-1": containers([], "node-1", 2) }, 1);
    const back = nextBook(gone, { "node-1": containers([a], "node-1", 3) }, 2);
    expect(back.rows.map((row) => row.goneAt)).toEqual([null]);
  });

  it("tells two hosts' containers apart, and drops a host that is no longer shown", () => {
    const both = nextBook(EMPTY_BOOK, { x: containers([a], "x"), y: containers([a], "y") }, 0);
    expect(both.rows.map((row) => row.key)).toEqual([`x/${a.id}`, `y/${a.id}`]);
    expect(nextBook(both, { y: containers([a], "y") }, 1).rows.map((row) => row.host)).toEqual(["y"]);
  });
});
