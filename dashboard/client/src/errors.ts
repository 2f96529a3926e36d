/** What went wrong with a request to the edge. */
export class FleetcastError extends Error {
  override readonly name = "FleetcastError";
  /** The HTTP status; null where no answer came. */
  readonly status: number | null;
  /** The edge's error code (`forbidden`, `unknown-host`, ...); null where the answer had none. */
  readonly code: string | null;
  /** Not to be asked again before so long; null where nothing was said of it. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    status: number | null,
    code: string | null,
    retryAfterMs: number | null = null,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}
