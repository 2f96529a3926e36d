import type { ActionRecord, AuditPage } from "@fleetcast/client";
import { useEvents, useFleetcast } from "@fleetcast/client/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { isFinal } from "../actions/explain.ts";
import { type Tracked, useRecentActions } from "../actions/store.ts";
import { useSession } from "../lib/status.ts";
import { type Entry, type KnownAction, mergeEntries } from "./entries.ts";

const AUDIT_LIMIT = 200;

/** After the last sign of an action: its record is written a moment later than its ack. */
const AUDIT_AFTER_MS = 700;

export interface Entries {
  readonly entries: readonly Entry[];
  readonly isLoading: boolean;
  readonly error: Error | null;
  /** Why actions are missing from it; null where none are. */
  readonly missing: string | null;
}

/**
 * What has happened on a host, or on all, as far as events go back; live. Actions of others come from the audit, which
 * is for admins; without it they are told by what they made happen.
 */
export function useEntries(host?: string): Entries {
  const events = useEvents(host);
  const own = useRecentActions();
  const session = useSession();
  const audit = useAudit(host, session?.role === "admin");
  const lastSign = useLastSign(events.data, own);
  useAuditAgain(lastSign);

  const user = session?.user ?? "you";
  const entries = useMemo(() => {
    const mine = own
      .filter((action) => isFinal(action.stage) && (host === undefined || action.host === host))
      .map((action) => ownAction(action, user));
    return mergeEntries(events.data ?? [], [...(audit.data?.entries ?? []), ...mine]);
  }, [events.data, audit.data, own, host, user]);
  return {
    entries,
    isLoading: events.isLoading,
    error: events.error,
    missing: audit.error === null ? null : `actions of others that changed nothing: ${audit.error.message}`,
  };
}

function useAudit(host: string | undefined, enabled: boolean) {
  const client = useFleetcast();
  return useQuery({
    queryKey: ["audit", host ?? null],
    queryFn: async ({ signal }) => {
      const query = new URLSearchParams({ limit: String(AUDIT_LIMIT), ...(host === undefined ? {} : { host }) });
      return expectAudit(await client.get(`/api/audit?${query}`, signal));
    },
    enabled,
  });
}

/** Names the newest thing that an action has done, here or anywhere; null where none is known. */
function useLastSign(events: ReturnType<typeof useEvents>["data"], own: readonly Tracked[]): string | null {
  return useMemo(() => {
    const caused = events?.findLast((event) => event.cause !== "docker");
    const acked = own.find((action) => isFinal(action.stage));
    return caused || acked ? `${caused?.host} ${caused?.at} ${acked?.key} ${acked?.stage}` : null;
  }, [events, own]);
}

function useAuditAgain(sign: string | null): void {
  const queries = useQueryClient();
  useEffect(() => {
    if (sign === null) return;
    const timer = setTimeout(() => void queries.invalidateQueries({ queryKey: ["audit"] }), AUDIT_AFTER_MS);
    return () => clearTimeout(timer);
  }, [queries, sign]);
}

function ownAction(action: Tracked, actor: string): KnownAction {
  return {
    requestId: action.requestId,
    host: action.host,
    containerId: action.containerId,
    name: action.name,
    action: action.verb,
    actor,
    status: action.stage === "queued" || action.stage === "sent" ? "accepted" : action.stage,
    at: action.at,
    noop: action.noop,
    ...(action.target === null ? {} : { target: action.target }),
    ...(action.error === null ? {} : { error: action.error }),
    ...(action.durationMs === null ? {} : { durationMs: action.durationMs }),
  };
}

/** A page of the audit, without what is none of its records. */
export function expectAudit(body: unknown): Pick<AuditPage, "entries"> {
  if (typeof body !== "object" || body === null || !("entries" in body) || !Array.isArray(body.entries)) {
    throw new Error("the edge's audit is not what it should be");
  }
  return { entries: body.entries.filter(isRecord) };
}

function isRecord(value: unknown): value is ActionRecord {
  if (typeof value !== "object" || value === null) return false;
  const { requestId, host, containerId, action, status, at } = value as Partial<ActionRecord>;
  return (
    [requestId, host, containerId, action, status].every((one) => typeof one === "string") && typeof at === "number"
  );
}
