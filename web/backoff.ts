// How long to wait before trying again: doubling, limited, and never the same for two pages, so that the readers of a
// service that comes back do not all knock at once.

const BASE_MS = 500
const MAX_MS = 15_000

/** @param failures how many attempts have failed so far, from 1. @returns milliseconds, between half of the step and all of it */
export function backoffMs (failures: number): number {
  const stepMs = Math.min(BASE_MS * 2 ** (failures - 1), MAX_MS)
  return stepMs * (0.5 + Math.random() / 2)
}

export function sleep (ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}
