/**
 * The views. The first one comes with the page; the others are files of their own, fetched as soon as the page has
 * nothing better to do, so that none is missing when the edge is gone or has been upgraded.
 */

import { lazy } from "react";

export { FleetView } from "./fleet/FleetView.tsx";

const host = () => import("./host/HostView.tsx");
const containers = () => import("./containers/ContainersView.tsx");
const timeline = () => import("./timeline/TimelineView.tsx");

export const HostView = lazy(async () => ({ default: (await host()).HostView }));
export const ContainersView = lazy(async () => ({ default: (await containers()).ContainersView }));
export const TimelineView = lazy(async () => ({ default: (await timeline()).TimelineView }));

const FETCHED_AFTER_MS = 1_500;

/** Fetches what is not there yet. What cannot be had now is asked for again by whoever opens it. */
export function fetchViewsLater(): void {
  const fetchAll = () => void Promise.allSettled([containers(), host(), timeline(), import("./host/Chart.tsx")]);
  setTimeout(() => (window.requestIdleCallback ?? setTimeout)(fetchAll), FETCHED_AFTER_MS);
}
