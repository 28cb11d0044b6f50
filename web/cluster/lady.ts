// Lady Gaga writes: a limited run of messages through the client, a few of them by other users.
// Ends after a number of messages, after a time, or when the service refuses one for good.
import { Dialogs } from '../../src/client/dialogs.js'

const MESSAGES = 5000
const MS_MAX = 120_000
/** The browser allows six connections to a host; the streams of this page use two. */
const AT_ONCE = 4
const OTHERS = 20
/** One message in this many is another user's. */
const OTHER_EVERY = 40

/**
 * @param url of the service
 * @param onWritten gets how many of `MESSAGES` were written so far
 * @throws Refusal with the service's message when one is refused
 */
export async function ladyWrites(
  url: string,
  room: string,
  signal: AbortSignal,
  onWritten: (count: number) => void
): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(MS_MAX)])
  let next = 0
  let written = 0
  const write = async (): Promise<void> => {
    // Each has a client of its own, because a client sends a room's messages one after the other.
    const dialogs = new Dialogs({ url })
    while (next < MESSAGES && !until.aborted) {
      const index = next++
      const isOther = index % OTHER_EVERY === OTHER_EVERY - 1
      const user = isOther ? `fan-${Math.floor(index / OTHER_EVERY) % OTHERS}` : 'lady_gaga'
      const text = isOther ? 'We hear you!' : `La la la ${index}`
      await dialogs.post(room, { user, text }, { signal: until })
      onWritten(++written)
    }
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, write))
  } catch (error) {
    next = MESSAGES // the others stop as well
    if (!until.aborted) throw error
  }
}
