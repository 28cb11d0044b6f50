// Lady Gaga writes: a bounded run of messages over the public interface, a few of them by others.
// Ends after so many messages, so long, or the first error.

const MESSAGES = 5000
const MS_MAX = 120_000
/** The browser has six connections to a host; the streams of this page have two. */
const AT_ONCE = 4
const OTHERS = 20
/** One in so many messages is another user's. */
const OTHER_EVERY = 40

/**
 * @param url of the room's messages
 * @param onWritten is told how many were written so far, of `MESSAGES`
 * @throws Error with the service's message when one is refused
 */
export async function ladyWrites(
  url: string,
  signal: AbortSignal,
  onWritten: (count: number) => void
): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(MS_MAX)])
  let next = 0
  let written = 0
  const write = async (): Promise<void> => {
    while (next < MESSAGES && !until.aborted) {
      const index = next++
      const isOther = index % OTHER_EVERY === OTHER_EVERY - 1
      const user = isOther ? `fan-${Math.floor(index / OTHER_EVERY) % OTHERS}` : 'lady_gaga'
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() },
        body: JSON.stringify({ user, text: isOther ? 'We hear you!' : `La la la ${index}` }),
        signal: until
      })
      if (!response.ok) throw new Error(((await response.json()) as { message: string }).message)
      onWritten(++written)
    }
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, write))
  } catch (error) {
    if (!until.aborted) throw error
  }
}
