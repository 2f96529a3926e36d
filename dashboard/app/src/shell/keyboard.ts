/** Keys that go somewhere: `g` and then a letter, or one key alone. Pure. */

export interface Destination {
  readonly keys: string;
  readonly path: string;
}

export const DESTINATIONS: readonly Destination[] = [
  { keys: "g f", path: "/" },
  { keys: "g c", path: "/containers" },
  { keys: "g t", path: "/timeline" },
];

/** How long the second key may take. */
export const SEQUENCE_MS = 1500;

export interface Pressed {
  readonly key: string;
  readonly at: number;
}

/** Where two keys in a row lead; null where nowhere, or where the second came too late. */
export function destinationOf(before: Pressed | null, now: Pressed): string | null {
  if (before === null || now.at - before.at > SEQUENCE_MS) return null;
  return DESTINATIONS.find(({ keys }) => keys === `${before.key} ${now.key}`)?.path ?? null;
}
