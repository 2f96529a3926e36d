/** How far the edge is, and what time it is on Redis' clock, from pings and their answers. Pure. */

export interface Measurement {
  /** Both on this machine's clock, ms. */
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly serverTime: number;
}

/** The last few measurements, the newest last. */
export type Measurements = readonly Measurement[];

const KEPT = 8;

export function remember(measurements: Measurements, measurement: Measurement): Measurements {
  return [...measurements, measurement].slice(-KEPT);
}

/** Redis' clock minus this machine's, ms: by the quickest of the answers, which says it most exactly. */
export function offsetOf(measurements: Measurements): number {
  let best: Measurement | undefined;
  for (const one of measurements) {
    if (best === undefined || roundTrip(one) <= roundTrip(best)) best = one;
  }
  return best === undefined ? 0 : best.serverTime - (best.sentAt + best.receivedAt) / 2;
}

export function roundTrip(measurement: Measurement): number {
  return Math.max(0, measurement.receivedAt - measurement.sentAt);
}
