import css from "./Meter.module.css";

export type MeterTone = "accent" | "ok" | "warn" | "bad" | "muted";

interface MeterProps {
  /** 0 to 100; null where it is not known. */
  readonly percent: number | null;
  /** What it measures, for screen readers. */
  readonly label: string;
  /** Without it: by the value, `warn` from 80 and `bad` from 92. */
  readonly tone?: MeterTone;
}

export function Meter({ percent, label, tone = toneOf(percent) }: MeterProps) {
  const shown = percent === null ? 0 : Math.min(100, Math.max(0, percent));
  return (
    // biome-ignore lint/a11y/useSemanticElements: the meter element cannot be drawn alike in all browsers
    <div
      className={css.track}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(shown)}
      aria-valuetext={percent === null ? "not known" : `${Math.round(percent)} %`}
    >
      <div className={css.fill} data-tone={tone} style={{ transform: `scaleX(${shown / 100})` }} />
    </div>
  );
}

function toneOf(percent: number | null): MeterTone {
  if (percent === null || percent < 80) return "accent";
  return percent < 92 ? "warn" : "bad";
}
