/**
 * The views. The first one comes with the page; the others are files of their own, fetched as soon as the page has
 * nothing better to do, so that none is missing when the edge is gone or has been upgraded.
 */

import { lazy } from "react";

export { FleetView } from "./fleet/FleetView.tsx";

const host = () => import("./host/HostView.tsx");
const containers = () => import("./containers/ContainersView.tsx");
const timeline = () => import("./timeline/TimelineView.tsx");

export const HostView = lazy(async () => ({ default: (await opened(host)).HostView }));
export const ContainersView = lazy(async () => ({ default: (await opened(containers)).ContainersView }));
export const TimelineView = lazy(async () => ({ default: (await opened(timeline)).TimelineView }));

const RELOADED_AT = "fleetcast.reloadedAt";
const RELOAD_EVERY_MS = 30_000;

/**
 * What a view needs may not come: the network changed meanwhile, or an upgrade has put other files in its place. Where the
 * edge answers, the whole page is loaded anew, with files that belong together; if that was only just done, or there is
 * no edge, whoever opened the view is told.
 */
async function opened<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const reloadedAt = Number(sessionStorage.getItem(RELOADED_AT) ?? 0);
    if (Date.now() - reloadedAt < RELOAD_EVERY_MS || !(await edgeAnswers())) throw error;
    sessionStorage.setItem(RELOADED_AT, String(Date.now()));
    location.reload();
    return new Promise(() => undefined); // the page is about to go
  }
}

async function edgeAnswers(): Promise<boolean> {
  try {
    return (await fetch("/favicon.svg", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

const FETCHED_AFTER_MS = 1_500;

/** Fetches what is not there yet. What cannot be had now is asked for again by whoever opens it. */
export function fetchViewsLater(): void {
  const fetchAll = () => void Promise.allSettled([containers(), host(), timeline(), import("./host/Chart.tsx")]);
  setTimeout(() => (window.requestIdleCallback ?? setTimeout)(fetchAll), FETCHED_AFTER_MS);
}
