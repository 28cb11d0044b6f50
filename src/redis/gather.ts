// Asks several nodes the same question without waiting for those that have vanished. A host that is
// cut off does not refuse a connection; it is silent.

/** A node that has not answered after this long counts as late. Most answer within milliseconds. */
const LATE_MS = 150

export type Gathered<T> = { readonly found: readonly T[]; readonly lastError: unknown }

/**
 * Asks nodes in the order of the keys, `atOnce` at a time, until `count` have answered. If a node
 * is late, the next one is asked beside it. When all have been asked, this waits for late answers
 * only if there is no answer at all, or if `isComplete`.
 */
export function gather<T>(
  keys: readonly string[],
  count: number,
  ask: (key: string) => Promise<T>,
  { atOnce = count, isComplete = false } = {}
): Promise<Gathered<T>> {
  return new Promise(resolve => {
    const found: T[] = []
    const lateTimers = new Set<NodeJS.Timeout>()
    let lastError: unknown
    let next = 0
    let pending = 0
    let hasEnded = false

    const proceed = (): void => {
      if (hasEnded) return
      while (found.length < count && lateTimers.size < atOnce && next < keys.length) {
        begin(keys[next++] as string)
      }
      const isWaitedFor = lateTimers.size > 0 || (pending > 0 && (isComplete || found.length === 0))
      if (found.length < count && isWaitedFor) return
      hasEnded = true
      for (const timer of lateTimers) clearTimeout(timer)
      resolve({ found: found.slice(0, count), lastError })
    }
    const begin = (key: string): void => {
      pending++
      const late = setTimeout(() => {
        lateTimers.delete(late)
        proceed()
      }, LATE_MS)
      lateTimers.add(late)
      ask(key)
        .then(
          answer => {
            found.push(answer)
          },
          (error: unknown) => {
            lastError = error
          }
        )
        .finally(() => {
          pending--
          clearTimeout(late)
          lateTimers.delete(late)
          proceed()
        })
    }
    proceed()
  })
}
