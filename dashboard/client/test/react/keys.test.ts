import { expect, test } from "vitest";
import { fleetcastKeys, liveKey } from "../../src/react/keys.ts";

test.each([
  [fleetcastKeys.hosts(), "hosts", "message"],
  [fleetcastKeys.metrics("web-1"), "metrics:web-1", "message"],
  [fleetcastKeys.metrics(), "metrics", "record"],
  [fleetcastKeys.processes("web-1"), "processes:web-1", "message"],
  [fleetcastKeys.events(), "events", "events"],
  [fleetcastKeys.events("web-1"), "events:web-1", "events"],
])("the key %j is kept up by the channel %s as %s", (key, channel, shape) => {
  expect(liveKey(key)).toMatchObject({ channel, shape });
});

test.each([
  [["other", "metrics"]],
  [["fleetcast"]],
  [["fleetcast", "metrics", undefined]],
  [["fleetcast", "metrics", ""]],
  [["fleetcast", "metrics", "web-1", "mine"]],
  [["fleetcast", "hosts", "web-1"]],
  [["fleetcast", "of-mine"]],
  [fleetcastKeys.history("web-1", { minutes: 15 })],
  [fleetcastKeys.actions()],
])("nothing is pushed under %j", (key) => {
  expect(liveKey(key)).toBeNull();
});
