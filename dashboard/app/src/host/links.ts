/** Links to a container's panel, which is beside its host. Pure. */

import type { Container } from "@fleetcast/client";

/** `search`: the page's present query, of which the rest is kept. */
export function containerHref(host: string, containerId: string, search = ""): string {
  const query = new URLSearchParams(search);
  query.set("container", containerId);
  return `/hosts/${encodeURIComponent(host)}?${query}`;
}

/** What the URL names: an id, the beginning of one, or a name; undefined where there is no such container, or several. */
export function findContainer(containers: readonly Container[], named: string): Container | undefined {
  const exact = containers.find(({ id, name }) => id === named || name === named);
  if (exact !== undefined || named.length < 4) return exact;
  const begun = containers.filter(({ id }) => id.startsWith(named));
  return begun.length === 1 ? begun[0] : undefined;
}

/** "8080 → 80/tcp", with the address where it is not all of them; "80/tcp" where it is not published. */
export function portText({ ip, hostPort, containerPort, protocol }: Container["ports"][number]): string {
  const inside = `${containerPort}/${protocol}`;
  if (hostPort === null) return inside;
  const everywhere = ip === null || ip === "0.0.0.0" || ip === "::";
  const address = ip?.includes(":") ? `[${ip}]` : ip;
  return `${everywhere ? "" : `${address}:`}${hostPort} → ${inside}`;
}
