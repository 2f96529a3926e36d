import { expect, test } from "vitest";
import { createTurns } from "../../src/react/turns.ts";

const never = new AbortController().signal;

/** A task that ends when it is told to. */
function task(name: string, begun: string[]) {
  let end: () => void = () => undefined;
  const run = () => {
    begun.push(name);
    return new Promise<void>((resolve) => {
      end = resolve;
    });
  };
  return { run, end: () => end() };
}

test("tasks begin in the order in which they came, as many at a time as may", async () => {
  const begun: string[] = [];
  const turns = createTurns(2);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => task(name, begun)) as [
    ReturnType<typeof task>,
    ReturnType<typeof task>,
    ReturnType<typeof task>,
    ReturnType<typeof task>,
  ];
  const runs = [a, b, c, d].map(({ run }) => turns.run(run, never));
  await Promise.resolve();
  expect(begun).toEqual(["a", "b"]);
  b.end();
  await runs[1];
  await Promise.resolve();
  expect(begun).toEqual(["a", "b", "c"]);
  a.end();
  c.end();
  await Promise.all([runs[0], runs[2]]);
  d.end();
  await runs[3];
});

test("after the last there is room again, failed or not", async () => {
  const turns = createTurns(1);
  await expect(turns.run(() => Promise.reject(new Error("no")), never)).rejects.toThrow("no");
  expect(await turns.run(async () => "yes", never)).toBe("yes");
});

test("what is aborted before its turn is not run, and holds no place", async () => {
  const begun: string[] = [];
  const turns = createTurns(1);
  const first = task("first", begun);
  const running = turns.run(first.run, never);
  const [early, late] = [new AbortController(), new AbortController()];
  early.abort(new Error("too late"));
  await expect(turns.run(task("early", begun).run, early.signal)).rejects.toThrow("too late");
  const waiting = turns.run(task("late", begun).run, late.signal);
  late.abort(new Error("not any more"));
  await expect(waiting).rejects.toThrow("not any more");
  first.end();
  await running;
  await turns.run(async () => void begun.push("next"), never);
  expect(begun).toEqual(["first", "next"]);
});
