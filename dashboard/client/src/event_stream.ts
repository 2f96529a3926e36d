/** Reads the format of server-sent events, as far as an edge writes it. Pure. */

export type Field = { readonly data: string } | { readonly retryMs: number };

export interface EventStreamReader {
  /** The fields that a chunk completes; null where a line is longer than anything an edge sends. */
  read(chunk: string): readonly Field[] | null;
}

/** A message of the largest host there is has a tenth of this. */
const LONGEST_LINE = 32 * 1024 * 1024;

/** An edge writes each message as one `data:` line, so a line is a field and needs no others. */
export function createEventStreamReader(longest = LONGEST_LINE): EventStreamReader {
  let parts: string[] = [];
  let length = 0;
  return {
    read(chunk) {
      const lines = chunk.split("\n");
      const rest = lines.pop() ?? "";
      const fields: Field[] = [];
      for (const line of lines) {
        const field = fieldOf([...parts, line].join(""));
        if (field !== null) fields.push(field);
        parts = [];
        length = 0;
      }
      parts.push(rest);
      length += rest.length;
      return length > longest ? null : fields;
    },
  };
}

function fieldOf(line: string): Field | null {
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  const separator = text.indexOf(":");
  const value = text.slice(separator + 1).replace(/^ /, "");
  switch (text.slice(0, Math.max(0, separator))) {
    case "data":
      return { data: value };
    case "retry":
      return /^\d{1,6}$/.test(value) ? { retryMs: Number(value) } : null;
    default:
      return null; // a comment, an empty line, or what a later version has added
  }
}
