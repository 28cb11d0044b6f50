// How long to wait before another attempt: twice as long each time, and half of it by chance, so
// that those who failed together do not come back together.

/** @param attempt from 0 */
export const backoffMs = (attempt: number, msMin: number, msMax: number): number =>
  Math.min(msMax, msMin * 2 ** Math.min(attempt, 30)) * (0.5 + Math.random() / 2)
