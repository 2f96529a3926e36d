import type { ReactNode } from "react";

const PATHS = {
  alert: "M8 2.2 14.3 13H1.7zM8 6.4v3M8 11.3v.1",
  "arrow-left": "M9.5 3.5 5 8l4.5 4.5M5.3 8H13",
  box: "M2.5 5 8 2l5.5 3v6L8 14l-5.5-3zM2.5 5 8 8l5.5-3M8 8v6",
  check: "M3.2 8.4 6.4 11.6 12.8 4.8",
  "chevron-down": "M4 6.2 8 10l4-3.8",
  "chevron-right": "M6.2 4 10 8l-3.8 4",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.6",
  cross: "M4 4l8 8M12 4l-8 8",
  down: "M8 3v10M4.2 9.2 8 13l3.8-3.8",
  external: "M6.5 3.5H3.2v9.3h9.3V9.5M9 3h4v4M12.8 3.2 7.4 8.6",
  grid: "M2.5 2.5h4.4v4.4H2.5zM9.1 2.5h4.4v4.4H9.1zM2.5 9.1h4.4v4.4H2.5zM9.1 9.1h4.4v4.4H9.1z",
  heart: "M8 13.2S2.3 9.8 2.3 6A3 3 0 0 1 8 4.8 3 3 0 0 1 13.7 6c0 3.8-5.7 7.2-5.7 7.2z",
  host: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5v.1M5 11v.1",
  keyboard: "M1.8 4h12.4v8H1.8zM4.5 6.7v.1M7 6.7v.1M9.3 6.7v.1M11.6 6.7v.1M5 9.5h6",
  list: "M5.5 4H14M5.5 8H14M5.5 12H14M2.3 4v.1M2.3 8v.1M2.3 12v.1",
  lock: "M3.5 7.2h9v6h-9zM5.4 7V5.2a2.6 2.6 0 0 1 5.2 0V7",
  more: "M3.5 8v.1M8 8v.1M12.5 8v.1",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M4.5 3v10l8-5z",
  restart: "M13 8a5 5 0 1 1-1.5-3.6M13 2.3v2.9h-2.9",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.8 10.8 14 14",
  skull: "M8 2a5 5 0 0 0-3 9v2.5h6V11a5 5 0 0 0-3-9zM6 7.6v.1M10 7.6v.1",
  sort: "M5 3v10M2.8 5.2 5 3l2.2 2.2M11 13V3M8.8 10.8 11 13l2.2-2.2",
  stop: "M4 4h8v8H4z",
  table: "M2 3h12v10H2zM2 6.5h12M6.5 6.5V13",
  trash: "M2.8 4.3h10.4M6 4V2.6h4V4M4.2 4.5l.6 8.9h6.4l.6-8.9M6.7 7v3.8M9.3 7v3.8",
  up: "M8 13V3M4.2 6.8 8 3l3.8 3.8",
  user: "M8 8.2A2.9 2.9 0 1 0 8 2.4a2.9 2.9 0 0 0 0 5.8zM2.8 13.8c.5-2.6 2.6-3.8 5.2-3.8s4.7 1.2 5.2 3.8",
} as const;

export type IconName = keyof typeof PATHS;

/** Drawn in the text's colour, at the text's place; says nothing to screen readers: its neighbour does. */
export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }): ReactNode {
  return (
    <svg
      aria-hidden="true"
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
