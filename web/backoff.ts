// How long to wait before trying again: doubling, limited, and never the same for two pages, so
// that the readers of a service that comes back do not all knock at once. When the browser says
// that the network is back, the wait is over.

const BASE_MS = 500
const MAX_MS = 15_000

/**
 * @param failures how many attempts have failed so far, from 1. @returns milliseconds, between half
 * of the step and all of it
 */
export function backoffMs(failures: number): number {
  const stepMs = Math.min(BASE_MS * 2 ** (failures - 1), MAX_MS)
  return stepMs * (0.5 + Math.random() / 2)
}

/** One piece of work that is tried until it succeeds. */
export class Backoff {
  #failures = 0

  /**
   * Waits before the next attempt. @param msMin what the service asked for; the network's return
   * does not shorten it
   */
  async wait(msMin = 0): Promise<void> {
    const ms = backoffMs(++this.#failures)
    await Promise.all([sleep(msMin), ms > msMin ? sleepOrOnline(ms) : undefined])
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, ms)
  })
}

function sleepOrOnline(ms: number): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      clearTimeout(timer)
      removeEventListener('online', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    addEventListener('online', end)
  })
}
