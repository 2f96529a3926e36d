/** How large a host is drawn, in pixels: the same whatever it shows. */

export interface Sizes {
  readonly narrowest: number;
  readonly height: number;
  readonly gap: number;
  /** 0: no room for them. */
  readonly sparkWidth: number;
}

export const GAP = 12;
export const HEADING_HEIGHT = 44;

/** What covers the screen's upper edge (the page's header, and the columns' names) and a phone's lower one. */
export const COVERED_ABOVE = 88;
export const COVERED_BELOW = 72;

const TILE = { narrowest: 268, height: 194, gap: GAP } as const;
/** What a tile's line has beside the sparkline: padding, the name and the value. */
const TILE_BESIDE_SPARK = 2 * 14 + 58 + 96 + 8;

/** `width`: of the whole list. */
export function sizesOf(view: "tiles" | "rows", width: number): Sizes {
  if (view === "rows") return { narrowest: 0, height: 40, gap: 0, sparkWidth: width >= 900 ? 64 : 0 };
  const columns = Math.max(1, Math.floor((width + GAP) / (TILE.narrowest + GAP)));
  const tileWidth = (width - (columns - 1) * GAP) / columns;
  return { ...TILE, sparkWidth: Math.max(0, Math.floor(tileWidth - TILE_BESIDE_SPARK)) };
}
