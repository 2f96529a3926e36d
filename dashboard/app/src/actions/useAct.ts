import { useFleetcast } from "@fleetcast/client/react";
import { useCallback } from "react";
import type { Verb } from "../lib/verbs.ts";
import type { LeftOut } from "./offers.ts";
import { questions } from "./questions.ts";
import { submit } from "./submit.ts";
import { type Chosen, needsAsking } from "./verb.ts";

export type Act = (verb: Verb, chosen: readonly Chosen[], leftOut?: readonly LeftOut[]) => void;

/**
 * Does a verb to containers as they are on the screen: asks first where it is dangerous or there are many of them. What
 * becomes of it is in the store. Needs `ActionsHost` on the page.
 */
export function useAct(): Act {
  const client = useFleetcast();
  return useCallback(
    (verb, chosen, leftOut = []) => {
      if (chosen.length === 0) return;
      if (needsAsking(verb, chosen.length)) questions.ask({ verb, chosen, leftOut });
      else submit(client, verb, chosen);
    },
    [client],
  );
}
