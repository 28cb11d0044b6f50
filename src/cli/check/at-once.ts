// Works on many items, a limited number at a time. The items that wait are only an iterator: a
// promise for each of a million blocks would take more memory than the items.

/** @throws the error of the first work that fails; no further work is started then */
export async function forEachAtOnce<T>(
  things: Iterable<T>,
  atOnce: number,
  work: (thing: T) => Promise<void>
): Promise<void> {
  const waiting = things[Symbol.iterator]()
  let hasFailed = false
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let next = waiting.next(); next.done !== true && !hasFailed; next = waiting.next()) {
        try {
          await work(next.value)
        } catch (error) {
          hasFailed = true
          throw error
        }
      }
    })
  )
}
