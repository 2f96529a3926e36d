import { describe, expect, it, vi } from "vitest";
import { createActionStore } from "../../src/actions/store.ts";
import { tracked } from "./support.ts";

const ID = "a".repeat(64);

describe("the store of actions", () => {
  it("has the newest first, and those of one container alone", () => {
    const store = createActionStore();
    store.add([tracked({ key: "1" }), tracked({ key: "2", containerId: "b" })]);
    store.add([tracked({ key: "3" })]);
    expect(store.recent().map(({ key }) => key)).toEqual(["3", "2", "1"]);
    expect(store.of("node-1", ID).map(({ key }) => key)).toEqual(["3", "1"]);
  });

  it("gives the same object until that container's actions have changed", () => {
    const store = createActionStore();
    store.add([tracked({ key: "1" }), tracked({ key: "2", containerId: "b" })]);
    const before = store.of("node-1", ID);
    store.progress("2", { stage: "running", at: 1 });
    expect(store.of("node-1", ID)).toBe(before);
    store.progress("1", { stage: "running", at: 1 });
    expect(store.of("node-1", ID)).not.toBe(before);
    expect(store.of("node-1", ID)[0]?.stage).toBe("running");
  });

  it("lets no stage go back, and no end be another one", () => {
    const store = createActionStore();
    store.add([tracked()]);
    store.progress("r1", { stage: "running", at: 1 });
    store.progress("r1", { stage: "accepted", at: 2 });
    expect(store.recent()[0]?.stage).toBe("running");
    store.progress("r1", { stage: "failed", at: 3, error: "no" });
    store.progress("r1", { stage: "succeeded", at: 4 });
    expect(store.recent()[0]).toMatchObject({ stage: "failed", error: "no" });
  });

  it("knows what is under way, by container and verb", () => {
    const store = createActionStore();
    store.add([tracked()]);
    expect(store.underWay("node-1", ID, "restart")).toBe(true);
    expect(store.underWay("node-1", ID, "stop")).toBe(false);
    expect(store.underWay("node-2", ID, "restart")).toBe(false);
    store.progress("r1", { stage: "expired", at: 1 });
    expect(store.underWay("node-1", ID, "restart")).toBe(false);
  });

  it("forgets the oldest that are settled, and none that is under way", () => {
    const store = createActionStore(2);
    store.add([tracked({ key: "under way" })]);
    for (const key of ["1", "2", "3", "4"]) {
      store.add([tracked({ key })]);
      store.progress(key, { stage: "succeeded", at: 1 });
    }
    store.add([tracked({ key: "5" })]);
    expect(store.recent().map(({ key }) => key)).toEqual(["5", "4", "3", "under way"]);
    expect(store.of("node-1", ID)).toHaveLength(4);
  });

  it("keeps the newest bulk whole, however large", () => {
    const store = createActionStore(2);
    store.add(["1", "2", "3"].map((key) => tracked({ key, bulk: "b" })));
    for (const key of ["1", "2", "3"]) store.progress(key, { stage: "succeeded", at: 1 });
    store.add([tracked({ key: "4" })]);
    expect(store.recent()).toHaveLength(4);
  });

  it("brings back what was put away while it was under way, when it went wrong", () => {
    const store = createActionStore();
    store.add([tracked({ key: "1" }), tracked({ key: "2" })]);
    store.dismiss(["1", "2"]);
    store.progress("1", { stage: "succeeded", at: 1 });
    store.progress("2", { stage: "unknown", at: 1 });
    expect(store.recent().map(({ key, dismissed }) => [key, dismissed])).toEqual([
      ["2", false],
      ["1", true],
    ]);
  });

  it("tells its listeners, until they leave", () => {
    const store = createActionStore();
    const listener = vi.fn();
    const off = store.subscribe(listener);
    store.add([tracked()]);
    off();
    store.progress("r1", { stage: "running", at: 1 });
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
