import { useHosts } from "@fleetcast/client/react";
import { useCallback, useMemo } from "react";
import { useConnected, useSession } from "../lib/status.ts";
import { type ButtonState, buttonState, type Verb } from "../lib/verbs.ts";
import { actionStore } from "./store.ts";
import type { Chosen } from "./verb.ts";

export type May = (verb: Verb, one: Chosen) => ButtonState;

/** Whether a verb may be done to a container now, and if not, why; a new function whenever an answer may have changed. */
export function useMay(): May {
  const hosts = useHosts().data?.hosts;
  const session = useSession();
  const connected = useConnected();
  const byHost = useMemo(() => new Map((hosts ?? []).map((one) => [one.host, one])), [hosts]);
  return useCallback(
    (verb, { host, container }) => {
      if (actionStore.underWay(host, container.id, verb)) return { enabled: false, reason: `${verb} is under way` };
      return buttonState({ verb, container, hostStatus: byHost.get(host), session, connected });
    },
    [byHost, session, connected],
  );
}
