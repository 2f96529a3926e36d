/** What the tab says of the fleet, to those who look at another one. Pure. */

export interface Glance {
  /** Hosts that somebody has to look at. */
  readonly trouble: number;
  /** Whether the page has lost its connection: then nothing is known of the fleet. */
  readonly lost: boolean;
}

/** "(2) Containers – Fleetcast", "⚠ Fleetcast". */
export function titleOf({ trouble, lost }: Glance, page: string | null): string {
  const mark = lost ? "⚠ " : trouble > 0 ? `(${trouble}) ` : "";
  return `${mark}${page === null ? "" : `${page} – `}Fleetcast`;
}

/** The name of the page at a path; null for the first one. */
export function pageName(path: string): string | null {
  if (path.startsWith("/hosts/")) return decoded(path.slice("/hosts/".length));
  if (path === "/containers") return "Containers";
  return path === "/timeline" ? "Timeline" : null;
}

/** The favicon as a data URL: a dot where something is wrong, none of its colours where nothing is known. */
export function faviconOf({ trouble, lost }: Glance): string {
  const ground = lost ? "#6b7280" : "#3a5bd9";
  const dot = lost ? "#e8a33d" : "#e5484d";
  const mark = lost || trouble > 0 ? `<circle cx="12" cy="4" r="4" fill="${dot}" stroke="#fff"/>` : "";
  return `data:image/svg+xml,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="${ground}"/><path d="M3.5 11.5a4.5 4.5 0 0 1 9 0M6.2 11.5a1.8 1.8 0 0 1 3.6 0" fill="none" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/>${mark}</svg>`,
  )}`;
}

/** What a screen reader is told when it changes. */
export function spoken({ trouble, lost }: Glance): string {
  if (lost) return "Connection lost. What is shown may be old.";
  if (trouble === 0) return "Connected. All hosts are well.";
  return `Connected. ${trouble} ${trouble === 1 ? "host is" : "hosts are"} in trouble.`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // as it stands in the address, where that is no encoding
  }
}
