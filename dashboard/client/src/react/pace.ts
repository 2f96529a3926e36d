/** Runs something soon after it is wanted, but not too often; less often while nobody sees the page. */

const EVERY_MS = 250;
const HIDDEN_EVERY_MS = 1_000;
/** The first of a burst waits for the rest of it. */
const SETTLE_MS = 30;

export interface Pace {
  soon(): void;
  stop(): void;
}

export function createPace(run: () => void): Pace {
  let timer: ReturnType<typeof setTimeout> | null = null;
  let ranAt = Number.NEGATIVE_INFINITY;

  function runNow(): void {
    if (timer !== null) {
      clearTimeout(timer);
      timer = null;
    }
    ranAt = performance.now();
    run();
  }

  function onVisibility(): void {
    if (timer !== null && !isHidden()) {
      runNow();
    }
  }

  if (typeof document !== "undefined") {
    document.addEventListener("visibilitychange", onVisibility);
  }
  return {
    soon() {
      const everyMs = isHidden() ? HIDDEN_EVERY_MS : EVERY_MS;
      timer ??= setTimeout(runNow, Math.max(SETTLE_MS, ranAt + everyMs - performance.now()));
    },
    stop() {
      if (timer !== null) {
        clearTimeout(timer);
        timer = null;
      }
      if (typeof document !== "undefined") {
        document.removeEventListener("visibilitychange", onVisibility);
      }
    },
  };
}

function isHidden(): boolean {
  return typeof document !== "undefined" && document.hidden;
}
