import type { Verb } from "../lib/verbs.ts";
import type { MenuItem } from "../ui/Menu.tsx";
import type { Act } from "./useAct.ts";
import type { May } from "./useMay.ts";
import { type Chosen, MENU_ORDER, VERB_KEY, VERB_LABEL } from "./verb.ts";

/** The verbs as a menu has them, without those that have a button of their own. */
export function menuItems(chosen: Chosen, may: May, act: Act, without: readonly Verb[] = []): readonly MenuItem[] {
  return MENU_ORDER.filter((verb) => !without.includes(verb)).map((verb) => {
    const answer = may(verb, chosen);
    const shortcut = VERB_KEY[verb];
    return {
      label: VERB_LABEL[verb],
      onSelect: () => act(verb, [chosen]),
      danger: verb === "kill" || verb === "remove",
      disabledReason: answer.enabled ? undefined : answer.reason,
      ...(answer.enabled && shortcut !== undefined ? { shortcut } : {}),
    };
  });
}
