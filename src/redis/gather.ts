// Asks several nodes the same question without waiting for those that have vanished. A host that is
// cut off does not refuse a connection; it is silent.

/** A node that has not answered after this long counts as late. Most answer within milliseconds. */
const LATE_MS = 150

export type Gathered<T> = { readonly found: readonly T[]; readonly lastError: unknown }

/**
 * Asks nodes in the order of the keys, `atOnce` at a time, until `count` have answered. If a node
 * is late, the next one is asked beside it. When all have been asked, this waits for late answers
 * only if there is no answer at all, or if `isComplete`. If `isEnough` says no to the answers of
 * `count` nodes, this waits for more of them, but not for late ones.
 */
export function gather<T>(
  keys: readonly string[],
  count: number,
  ask: (key: string) => Promise<T>,
  {
    atOnce = count,
    isComplete = false,
    isEnough = found => found.length >= count
  }: {
    readonly atOnce?: number
    readonly isComplete?: boolean
    readonly isEnough?: (found: readonly T[]) => boolean
  } = {}
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
      const isDone = found.length >= count && isEnough(found)
      while (lateTimers.size < atOnce && next < keys.length) {
        if (isDone) break
        begin(keys[next++] as string)
      }
      const isLateWaitedFor = isComplete ? found.length < count : found.length === 0
      if (!isDone && (lateTimers.size > 0 || (pending > 0 && isLateWaitedFor))) return
      hasEnded = true
      for (const timer of lateTimers) clearTimeout(timer)
      resolve({ found: [...found], lastError })
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
