// Work on many things, some at a time. What waits is nothing but an iterator: a promise for each of
// a million blocks would cost more than what is known of them.

/** @throws what the first failing work throws; nothing further is begun then */
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
