/** What belongs together, though Docker tells it in steps: a container that was replaced is one thing, not four. Pure. */

import type { EventMessage } from "@fleetcast/client";
import { eventWords, type Words } from "./words.ts";

/** Between two steps of one thing. */
const STEP_MS = 3000;

/** `events` oldest first, of any host; each group is of one name on one host, oldest first, and has at least one. */
export function foldEvents(events: readonly EventMessage[]): readonly (readonly EventMessage[])[] {
  const groups: EventMessage[][] = [];
  const open = new Map<string, EventMessage[]>();
  for (const event of events) {
    const place = `${event.host}/${event.name}`;
    const group = open.get(place);
    if (group && belongs(group, event)) {
      group.push(event);
      continue;
    }
    const begun = [event];
    groups.push(begun);
    open.set(place, begun);
  }
  return groups;
}

/** The words of a group: those of its one event, or what the steps come to. */
export function groupWords(group: readonly EventMessage[]): Words | null {
  const [first] = group;
  if (first === undefined) return null;
  if (group.length === 1) return eventWords(first);
  const crash = group.map(eventWords).find(({ kind }) => kind === "crash");
  const rest = outcome(group);
  if (crash) return { ...crash, text: `${crash.text}, ${rest}` };
  return { kind: "lifecycle", tone: rest.endsWith("removed") ? "muted" : "ok", text: rest };
}

/** The next step after a group's last one: it ended and started again, or ended and went, came anew, and started. */
function belongs(group: readonly EventMessage[], next: EventMessage): boolean {
  const last = group.at(-1);
  if (last === undefined || next.at - last.at > STEP_MS || next.from === next.to) return false;
  switch (next.to) {
    case null:
    case "removing":
      return last.to === "exited" || last.to === "removing" || last.to === "dead";
    case "created":
      return last.to === null;
    case "running":
      if (last.to === "exited" || last.to === "restarting") return last.containerId === next.containerId;
      return last.to === "created" || (last.to === null && next.from === null);
    default:
      return false;
  }
}

function outcome(group: readonly EventMessage[]): string {
  const wasRemoved = group.some(({ to }) => to === null);
  const came = group.findLast(({ from }) => from === null);
  const runs = group.at(-1)?.to === "running";
  if (came === undefined && runs) return group[0]?.to === "restarting" ? "running again" : "was restarted";
  if (came === undefined) return wasRemoved ? "was removed" : "is being removed";
  if (wasRemoved) return runs ? "was replaced, the new one runs" : "was replaced, the new one is not started yet";
  return runs ? "was created and started" : "was created";
}
