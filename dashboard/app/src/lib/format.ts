/** Numbers and times in words: binary units, a narrow no-break space between number and unit; null is "–". */

const NONE = "–";
const SPACE = "\u202f";
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

type Maybe = number | null | undefined;

export function bytes(count: Maybe): string {
  if (!isNumber(count)) return NONE;
  let value = Math.max(0, count);
  let unit = 0;
  // From 1000 on, not 1024: three digits at most, so that a column keeps its width.
  while (unit < UNITS.length - 1 && value >= 999.5) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)}${SPACE}${UNITS[unit]}`;
}

export function bytesPerSec(count: Maybe): string {
  return isNumber(count) ? `${bytes(count)}/s` : NONE;
}

export function percent(value: Maybe, digits = 0): string {
  return isNumber(value) ? `${value.toFixed(digits)}${SPACE}%` : NONE;
}

/** The two largest units at most: "3 d 4 h", "42 s"; below a second "120 ms". */
export function duration(ms: Maybe): string {
  if (!isNumber(ms)) return NONE;
  if (Math.abs(ms) < 1000) return `${Math.max(0, Math.round(ms))}${SPACE}ms`;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}${SPACE}s`;
  if (seconds < 3600) return pair(seconds, 60, "min", 1, "s");
  if (seconds < 86_400) return pair(seconds, 3600, "h", 60, "min");
  return pair(seconds, 86_400, "d", 3600, "h");
}

/** One unit: "12 s ago"; "now" below a second and for what is ahead of us. */
export function age(ms: Maybe): string {
  if (!isNumber(ms)) return NONE;
  if (ms < 1000) return "now";
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds}${SPACE}s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}${SPACE}min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}${SPACE}h ago`;
  return `${Math.floor(seconds / 86_400)}${SPACE}d ago`;
}

/** "14:03:09" in this place's time zone. */
export function clockTime(ms: Maybe): string {
  return isNumber(ms) ? CLOCK.format(ms) : NONE;
}

/** "24 Nov 2026, 14:03:09" in this place's time zone. */
export function dateTime(ms: Maybe): string {
  return isNumber(ms) ? DATE_TIME.format(ms) : NONE;
}

/** "Today", "Yesterday", "Tuesday, 24 Nov". */
export function day(ms: number, now: number): string {
  const date = new Date(ms).toDateString();
  if (date === new Date(now).toDateString()) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return date === yesterday.toDateString() ? "Yesterday" : DAY.format(ms);
}

// 24 hours wherever it is: a.m. and p.m. cost room in every row.
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE_TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "short" });

function isNumber(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function pair(seconds: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((seconds % large) / small);
  const first = `${Math.floor(seconds / large)}${SPACE}${largeName}`;
  return rest === 0 ? first : `${first} ${rest}${SPACE}${smallName}`;
}
