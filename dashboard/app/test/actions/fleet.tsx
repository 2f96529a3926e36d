import type { ContainersMessage, FleetClient, HostsMessage, Session, Status, UsageMessage } from "@fleetcast/client";
import { FleetcastProvider } from "@fleetcast/client/react";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { ActionsHost } from "../../src/actions/ActionsHost.tsx";
import { questions } from "../../src/actions/questions.ts";
import { actionStore } from "../../src/actions/store.ts";
import { TooltipProvider } from "../../src/ui/Tooltip.tsx";
import { fakeDoer } from "./support.ts";

interface Fleet {
  readonly role?: Session["role"];
  readonly executor?: "live" | "gone";
  readonly containers?: readonly ContainersMessage[];
  readonly usage?: readonly UsageMessage[];
}

const HOSTS = ["node-1", "node-2"];

/** The page's providers around it, with a fleet of two hosts, and an executor that the test plays. */
export function renderInFleet(children: ReactNode, fleet: Fleet = {}) {
  const doer = fakeDoer();
  const client = fakeClient(fleet, doer);
  // What earlier tests have asked for is over.
  questions.ask(null);
  for (const { key } of actionStore.recent()) actionStore.progress(key, { stage: "expired", at: 0 });
  actionStore.dismiss(actionStore.recent().map(({ key }) => key));
  const view = render(
    <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { retry: false } } })}>
      <FleetcastProvider client={client}>
        <TooltipProvider>
          {children}
          <ActionsHost />
        </TooltipProvider>
      </FleetcastProvider>
    </QueryClientProvider>,
  );
  return { ...doer, ...view };
}

function fakeClient(fleet: Fleet, doer: ReturnType<typeof fakeDoer>): FleetClient {
  const session: Session = { clientId: "c", edgeId: "e", user: "ann", role: fleet.role ?? "operator" };
  const status: Status = {
    state: "open",
    transport: "websocket",
    latencyMs: 3,
    lastError: null,
    retryAt: null,
    attempt: 0,
    session,
    skippedFrames: 0,
  };
  const roster: HostsMessage = {
    type: "hosts",
    hosts: HOSTS.map((host) => ({
      host,
      status: "live",
      expected: "always",
      lastSeenAt: 1_000_000,
      labels: {},
      links: {
        metrics: { state: "live" },
        containers: { state: "live" },
        executor: fleet.executor === "gone" ? { state: "gone", reason: "silent" } : { state: "live" },
      },
    })),
  };
  const messages = [roster, ...(fleet.containers ?? []), ...(fleet.usage ?? [])];
  return {
    status,
    onStatus: () => () => undefined,
    subscribe(channel, handler) {
      const [kind, host] = channel.split(":");
      for (const message of messages) {
        const fits = message.type === kind && (host === undefined || ("host" in message && message.host === host));
        if (fits) (handler as (message: unknown) => void)(message);
      }
      return () => undefined;
    },
    act: doer.act,
    actOnAll: doer.actOnAll,
    get: () => Promise.reject(new Error("only what is pushed")),
    now: () => 1_000_000,
    reconnect: () => undefined,
    close: () => undefined,
  };
}
