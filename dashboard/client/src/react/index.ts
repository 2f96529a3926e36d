/** React bindings: what an edge pushes, in TanStack Query's cache. No "use client" here: a server may use the keys. */

export type { ContainerActionState } from "./action.ts";
export { ContainerActionError, useContainerAction } from "./action.ts";
export type { HistoryOptions } from "./history.ts";
export { useHistory } from "./history.ts";
export type { HistoryRequest } from "./keys.ts";
export { fleetcastKeys } from "./keys.ts";
export type { FleetcastProviderProps } from "./provider.tsx";
export { FleetcastProvider, useFleetcast, useWebSocket } from "./provider.tsx";
export type { ByHost } from "./queries.ts";
export { useContainers, useEvents, useHosts, useMetrics, useProcesses, useUsage } from "./queries.ts";
