"use client";

import { type UseMutationResult, useMutation } from "@tanstack/react-query";
import { useCallback, useState, useSyncExternalStore } from "react";
import type { ActionHandle, ActionRequest, BulkRequest, Outcome, Unsubscribe } from "../types.ts";
import type { ContainerAck } from "../wire.ts";
import { fleetcastKeys } from "./keys.ts";
import { useFleetcast } from "./provider.tsx";

/** An action that did not succeed. `outcome.status` tells whether it surely did nothing (`unknown` does not). */
export class ContainerActionError extends Error {
  override readonly name = "ContainerActionError";

  constructor(
    readonly request: ActionRequest,
    readonly outcome: Outcome,
  ) {
    super(outcome.error ?? `the action is ${outcome.status}`);
  }
}

/** The last action of this component, as a mutation: `isSuccess` only once the executor said so. */
export type ContainerActionState = UseMutationResult<Outcome, ContainerActionError, ActionRequest> & {
  /** Like `mutate`, and returns the action's handle. */
  readonly act: (request: ActionRequest) => ActionHandle;
  /** One handle a target. They are not part of the mutation's state. */
  readonly actOnAll: (request: BulkRequest) => readonly ActionHandle[];
  /** Where the last action stands; null before its first ack. */
  readonly ack: ContainerAck | null;
};

/** An action goes on when its component goes, and nothing in the cache is changed for it: its effect is pushed. */
export function useContainerAction(): ContainerActionState {
  const client = useFleetcast();
  const [handle, setHandle] = useState<ActionHandle | null>(null);
  const mutation = useMutation<Outcome, ContainerActionError, ActionRequest>({
    mutationKey: fleetcastKeys.actions(),
    mutationFn: async (request) => {
      const begun = handles.get(request) ?? client.act(request);
      setHandle(begun);
      const outcome = await begun.outcome;
      if (outcome.status !== "succeeded") {
        throw new ContainerActionError(request, outcome);
      }
      return outcome;
    },
    // The client itself sends it again, with the same requestId, until it knows.
    networkMode: "always",
    retry: false,
  });

  const { mutate, reset } = mutation;
  return {
    ...mutation,
    ack: useAck(handle),
    act: useCallback(
      (request) => {
        const own = { ...request };
        const begun = client.act(own);
        handles.set(own, begun);
        mutate(own);
        return begun;
      },
      [client, mutate],
    ),
    actOnAll: useCallback((request) => client.actOnAll(request), [client]),
    reset: useCallback(() => {
      setHandle(null);
      reset();
    }, [reset]),
  };
}

/** Of requests that were begun before their mutation. */
const handles = new WeakMap<ActionRequest, ActionHandle>();

function useAck(handle: ActionHandle | null): ContainerAck | null {
  const subscribe = useCallback(
    (changed: () => void): Unsubscribe => handle?.onAck(changed) ?? (() => undefined),
    [handle],
  );
  return useSyncExternalStore(
    subscribe,
    () => handle?.ack ?? null,
    () => null,
  );
}
