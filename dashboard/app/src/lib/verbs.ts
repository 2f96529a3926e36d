/** What can be done to a container now, and if not, why. Pure. */

import type { Container, ContainerAction, HostStatus, Session } from "@fleetcast/client";
import { linkReason } from "./freshness.ts";

export type Verb = ContainerAction["action"];

export const VERBS: readonly Verb[] = ["start", "stop", "restart", "kill", "pause", "unpause", "remove"];

export type ButtonState = { readonly enabled: true } | { readonly enabled: false; readonly reason: string };

export interface Asked {
  readonly verb: Verb;
  readonly container: Pick<Container, "state" | "protected">;
  readonly hostStatus: HostStatus | undefined;
  readonly session: Session | null;
  /** Whether this page's connection is open. */
  readonly connected: boolean;
}

/** What makes sense in which state: the others Docker would refuse, or do nothing. */
const SENSIBLE: Readonly<Record<Container["state"], readonly Verb[]>> = {
  created: ["start", "remove"],
  running: ["stop", "restart", "kill", "pause"],
  paused: ["unpause", "stop", "restart", "kill"],
  restarting: ["stop", "restart", "kill"],
  removing: [],
  exited: ["start", "restart", "remove"],
  dead: ["remove"],
};

/** The reasons go from what holds longest to what passes soonest. */
export function buttonState({ verb, container, hostStatus, session, connected }: Asked): ButtonState {
  if (session?.role === "viewer") return no("your role, viewer, may look but not act");
  if (container.protected) return no("this container is protected: its host refuses every action on it");
  if (hostStatus?.actions && !hostStatus.actions.includes(verb)) return no(`this host does not allow ${verb}`);
  if (!SENSIBLE[container.state].includes(verb)) return no(whyNot(verb, container.state));
  if (!connected || session === null) return no("this page has no connection");
  if (hostStatus === undefined) return no("this host is not known to be there");
  const { executor } = hostStatus.links;
  if (executor.state !== "live") return no(`nothing can be done on this host: ${linkReason("executor", executor)}`);
  return { enabled: true };
}

/** "restarted", "removed". */
export function done(verb: Verb): string {
  return DONE[verb];
}

/** "restarting", "removing". */
export function doing(verb: Verb): string {
  return DOING[verb];
}

const DONE: Readonly<Record<Verb, string>> = {
  start: "started",
  stop: "stopped",
  restart: "restarted",
  kill: "killed",
  pause: "paused",
  unpause: "unpaused",
  remove: "removed",
};

const DOING: Readonly<Record<Verb, string>> = {
  start: "starting",
  stop: "stopping",
  restart: "restarting",
  kill: "killing",
  pause: "pausing",
  unpause: "unpausing",
  remove: "removing",
};

function no(reason: string): ButtonState {
  return { enabled: false, reason };
}

function whyNot(verb: Verb, state: Container["state"]): string {
  if (state === "removing") return "it is being removed";
  if (verb === "start") return state === "dead" ? "it is dead and can only be removed" : `it is ${state} already`;
  if (verb === "unpause") return "it is not paused";
  if (verb === "remove") return `it is ${state}: stop it first`;
  if (verb === "pause" && state === "paused") return "it is paused already";
  return `it is not running: it is ${state}`;
}
