// The pause before another attempt. It doubles with each failure up to a limit, and half of it is
// random. It ends at once when the network comes back or the caller gives up.

const BASE_MS = 500
const MAX_MS = 15_000

/**
 * @param failures how many attempts have failed so far, from 1
 * @returns milliseconds, between half of the step and all of it, so that clients that failed
 * together do not come back together
 */
export const backoffMs = (failures: number): number =>
  Math.min(BASE_MS * 2 ** Math.min(failures - 1, 30), MAX_MS) * (0.5 + Math.random() / 2)

export type Pause = {
  /** What the service asked for. The return of the network does not shorten it. Default 0. */
  readonly msMin?: number
  readonly signal?: AbortSignal | undefined
  /** Where `online` is announced: in browsers on the global object, in Node nowhere. */
  readonly network?: EventTarget | undefined
}

/** Resolves after the time, or earlier: the caller checks the signal. */
export async function pause(
  ms: number,
  { msMin = 0, signal, network = networkOfBrowser() }: Pause
): Promise<void> {
  const startedAt = performance.now()
  await new Promise<void>(resolve => {
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      network?.removeEventListener('online', hurry)
      resolve()
    }
    const hurry = (): void => {
      const leftMs = msMin - (performance.now() - startedAt)
      clearTimeout(timer)
      timer = setTimeout(end, Math.max(0, leftMs))
    }
    let timer = setTimeout(end, Math.max(ms, msMin))
    signal?.addEventListener('abort', end)
    network?.addEventListener('online', hurry)
    if (signal?.aborted === true) end()
  })
}

// Node's global object is not an EventTarget.
function networkOfBrowser(): EventTarget | undefined {
  const scope: unknown = globalThis
  return typeof EventTarget === 'function' && scope instanceof EventTarget ? scope : undefined
}
