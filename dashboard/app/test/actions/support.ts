import type { ActionHandle, ActionRequest, BulkRequest, Container, ContainerAck, Outcome } from "@fleetcast/client";
import type { Tracked } from "../../src/actions/store.ts";

/** A running container, with what a test is about. */
export function container(about: Partial<Container> = {}): Container {
  return {
    id: "a".repeat(64),
    name: "web",
    image: "nginx:1.27",
    state: "running",
    status: "Up 3 minutes",
    health: null,
    createdAt: 1_000,
    startedAt: 2_000,
    finishedAt: null,
    exitCode: null,
    oomKilled: false,
    restartCount: 0,
    ports: [],
    project: null,
    service: null,
    labels: {},
    protected: false,
    ...about,
  };
}

/** The id of the container with this number. */
export function id(number: number): string {
  return number.toString(16).padStart(64, "0");
}

export function tracked(about: Partial<Tracked> = {}): Tracked {
  return {
    key: "r1",
    requestId: "r1",
    target: null,
    bulk: null,
    verb: "restart",
    host: "node-1",
    containerId: "a".repeat(64),
    name: "web",
    stage: "sent",
    at: 0,
    error: null,
    code: null,
    durationMs: null,
    noop: false,
    dismissed: false,
    ...about,
  };
}

/** Both ends of one action: what the page has asked for, and the executor's answers. */
export interface Asked {
  readonly request: ActionRequest;
  readonly ack: (status: ContainerAck["status"]) => void;
  readonly settle: (outcome: Partial<Outcome> & Pick<Outcome, "status">) => void;
}

/** A client's actions, played by a test. */
export function fakeDoer() {
  const asked: Asked[] = [];
  const bulks: BulkRequest[] = [];
  const handle = (request: ActionRequest, target: number | null): ActionHandle => {
    const handlers = new Set<(ack: ContainerAck) => void>();
    let resolve: (outcome: Outcome) => void = () => undefined;
    const promise = new Promise<Outcome>((done) => {
      resolve = done;
    });
    asked.push({
      request,
      ack(status) {
        const { requestId = "", host = "", containerId, action } = request;
        const ack = {
          type: "container-ack",
          requestId,
          host,
          containerId,
          action,
          status,
          at: 5,
          actor: "me",
        } as const;
        for (const handler of handlers) handler(ack);
      },
      settle(outcome) {
        resolve({ error: null, code: null, durationMs: null, noop: false, ack: null, ...outcome });
      },
    });
    return {
      requestId: request.requestId ?? "",
      target,
      ack: null,
      onAck(handler) {
        handlers.add(handler);
        return () => handlers.delete(handler);
      },
      outcome: promise,
    };
  };
  return {
    asked,
    bulks,
    act: (request: ActionRequest) => handle(request, null),
    actOnAll(request: BulkRequest) {
      bulks.push(request);
      const { targets, ...common } = request;
      return targets.map((target, index) => handle({ ...common, ...target }, index));
    },
    now: () => 1_000_000,
  };
}
