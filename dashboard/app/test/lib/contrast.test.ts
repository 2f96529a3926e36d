import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("../../src/styles/tokens.css", import.meta.url), "utf8");
const DARK = "@media (prefers-color-scheme: dark)";
const light = tokensOf(css.slice(0, css.indexOf(DARK)));
const dark = { ...light, ...tokensOf(css.slice(css.indexOf(DARK), css.indexOf("@media (max-width"))) };

/** What text is set in, on what. */
const TEXT: readonly (readonly [string, readonly string[]])[] = [
  ["text", ["bg", "surface", "sunk", "hover", "selected", "accent-soft"]],
  ["text-2", ["bg", "surface", "sunk", "hover", "selected"]],
  ["muted", ["bg", "surface", "sunk", "hover", "selected"]],
  ["accent", ["bg", "surface", "sunk", "hover", "accent-soft"]],
  ["on-accent", ["accent", "accent-hover"]],
  ["on-bad", ["bad", "bad-hover"]],
  ["ok", ["bg", "surface", "hover", "selected", "ok-soft"]],
  ["warn", ["bg", "surface", "hover", "selected", "warn-soft"]],
  ["bad", ["bg", "surface", "hover", "selected", "bad-soft"]],
  ["chart-axis", ["bg", "surface"]],
];

/** What says something by its shape and colour: lines of charts, dots, filled meters, the focus ring. */
const GRAPHICS: readonly (readonly [string, readonly string[]])[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`series-${n}`, ["bg", "surface"]] as const),
  ["accent", ["bg", "surface", "sunk"]],
  ["meter", ["surface", "meter-track"]],
  ["bad-fill", ["bg", "surface"]],
  ["ok-fill", ["bg", "surface"]],
];

describe.each([
  ["light", light],
  ["dark", dark],
] as const)("in %s", (_, tokens) => {
  it.each(TEXT.flatMap(([ink, grounds]) => grounds.map((ground) => [ink, ground] as const)))(
    "text in %s can be read on %s",
    (ink, ground) => {
      expect(contrast(colour(tokens, ink), colour(tokens, ground))).toBeGreaterThanOrEqual(4.5);
    },
  );

  it.each(GRAPHICS.flatMap(([ink, grounds]) => grounds.map((ground) => [ink, ground] as const)))(
    "%s can be seen on %s",
    (ink, ground) => {
      expect(contrast(colour(tokens, ink), colour(tokens, ground))).toBeGreaterThanOrEqual(3);
    },
  );
});

it("every colour of the light page has one for the dark", () => {
  const own = tokensOf(css.slice(css.indexOf(DARK), css.indexOf("@media (max-width")));
  const colours = Object.entries(light).filter(([, value]) => value.startsWith("#") || value.startsWith("rgb"));
  expect(colours.map(([name]) => name).filter((name) => !(name in own))).toEqual([]);
});

function tokensOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/--([\w-]+):\s*([^;]+);/g)].map(([, name, value]) => [name, value]));
}

function colour(tokens: Readonly<Record<string, string>>, name: string): string {
  const value = tokens[name];
  if (value === undefined) throw new Error(`there is no --${name}`);
  return value;
}

/** As WCAG 2 has it, 1 to 21. */
function contrast(one: string, other: string): number {
  const [dim, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (bright + 0.05) / (dim + 0.05);
}

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
