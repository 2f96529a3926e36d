import { describe, expect, it } from "vitest";
import { portWords, shortImage, standingOf } from "../../src/containers/words.ts";
import { container } from "../actions/support.ts";

describe("standingOf", () => {
  it("counts a run from its beginning, and an end from its end", () => {
    expect(standingOf(container())).toEqual({ tone: "ok", word: "up", since: 2_000 });
    expect(standingOf(container({ state: "exited", exitCode: 3, finishedAt: 9_000 }))).toEqual({
      tone: "bad",
      word: "exited (3)",
      since: 9_000,
    });
  });

  it("takes no alarm at what was asked to end, and alarm at what had no memory left", () => {
    const exited = (exitCode: number, oomKilled = false) =>
      standingOf(container({ state: "exited", exitCode, oomKilled }));
    expect([0, 137, 143].map((code) => exited(code).tone)).toEqual(["muted", "muted", "muted"]);
    expect(exited(137, true)).toMatchObject({ tone: "bad", word: "out of memory" });
  });

  it("has health count while it runs", () => {
    expect(standingOf(container({ health: "unhealthy" })).tone).toBe("bad");
    expect(standingOf(container({ health: "starting" })).tone).toBe("warn");
    expect(standingOf(container({ health: "unhealthy", state: "exited", exitCode: 0 })).tone).toBe("muted");
  });
});

describe("shortImage", () => {
  it.each([
    ["nginx", "nginx"],
    ["ghcr.io/acme/shop/web:1.2", "web:1.2"],
    ["localhost:5000/web:1.2", "web:1.2"],
    [`web:1.2@sha256:${"0".repeat(64)}`, "web:1.2"],
    [`sha256:${"ab".repeat(32)}`, "abababababab"],
  ])("makes %s short", (image, short) => {
    expect(shortImage(image)).toBe(short);
  });
});

describe("portWords", () => {
  const port = (ip: string | null, hostPort: number | null, containerPort: number, protocol = "tcp") => ({
    ip,
    hostPort,
    containerPort,
    protocol,
  });

  it("names a port once, though it is bound for both families", () => {
    expect(portWords([port("0.0.0.0", 8080, 80), port("::", 8080, 80)])).toEqual(["8080→80"]);
  });

  it("names the address where it is one, and the protocol where it is not TCP", () => {
    expect(portWords([port("127.0.0.1", 53, 53, "udp"), port("::1", 9000, 90)])).toEqual([
      "127.0.0.1:53→53/udp",
      "[::1]:9000→90",
    ]);
  });

  it("has what is published first, and not again as exposed", () => {
    expect(portWords([port(null, null, 443), port(null, null, 80), port("0.0.0.0", 8080, 80)])).toEqual([
      "8080→80",
      "443",
    ]);
  });
});
