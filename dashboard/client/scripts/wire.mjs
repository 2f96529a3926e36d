// Makes src/wire.ts of the edge's JSON Schema (protocol.schema.json, which is what `fleetcast schema` prints).
import { readFile, writeFile } from "node:fs/promises";
import { compile } from "json-schema-to-typescript";

const here = new URL("../", import.meta.url);
const schema = JSON.parse(await readFile(new URL("protocol.schema.json", here), "utf8"));

// The generator names what it comes across; what stands in `$defs` alone is referred to, so that it is met.
const root = {
  title: "Wire",
  type: "object",
  additionalProperties: false,
  properties: Object.fromEntries(Object.keys(schema.$defs).map((name) => [name, { $ref: `#/$defs/${name}` }])),
  required: Object.keys(schema.$defs),
  $defs: Object.fromEntries(Object.entries(schema.$defs).map(([name, shape]) => [name, named(name, shape)])),
};

const text = await compile(root, "Wire", {
  additionalProperties: false,
  bannerComment: "// Made of protocol.schema.json by scripts/wire.mjs: change neither by hand.",
  customName: (shape, keyName) => shape.title ?? keyName,
});
await writeFile(
  new URL("src/wire.ts", here),
  text
    .replaceAll(/^( +)(?=[\w"]+\??:)/gm, "$1readonly ")
    .replaceAll(/(\b[A-Z]\w*|\bstring|\bnumber|\([a-z |]+\))\[\]/g, "readonly $1[]"),
);

/** The definition under its own name; titles of fields would make a type of each. */
function named(name, shape) {
  return { ...withoutTitles(shape), title: name };
}

function withoutTitles(shape) {
  if (Array.isArray(shape)) return shape.map(withoutTitles);
  if (shape === null || typeof shape !== "object") return shape;
  // Lengths of lists would make tuples.
  const { prefixItems, minItems, maxItems, ...rest } = shape;
  if (prefixItems) return { ...withoutTitles(rest), items: withoutTitles(prefixItems[0]) };
  const entries = Object.entries(rest).filter(([key, value]) => key !== "title" || typeof value !== "string");
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutTitles(value)]));
}
