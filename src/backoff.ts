// The pause before another attempt. It doubles with each attempt, and half of it is random, so that
// callers that failed together do not retry together.

/** @param attempt from 0 */
export const backoffMs = (attempt: number, msMin: number, msMax: number): number =>
  Math.min(msMax, msMin * 2 ** Math.min(attempt, 30)) * (0.5 + Math.random() / 2)
