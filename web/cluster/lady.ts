// Lady Gaga writes: a limited run of messages over the public interface, a few of them by other
// users. Ends after a number of messages, after a time, or at the first error.

import { randomKey } from '../../src/client/dialogs.js'

const MESSAGES = 5000
const MS_MAX = 120_000
/** The browser allows six connections to a host; the streams of this page use two. */
const AT_ONCE = 4
const OTHERS = 20
/** One message in this many is another user's. */
const OTHER_EVERY = 40

/**
 * @param url of the room's messages
 * @param onWritten gets how many of `MESSAGES` were written so far
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
        headers: { 'content-type': 'application/json', 'idempotency-key': randomKey() },
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
