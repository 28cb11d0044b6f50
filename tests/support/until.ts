// Waits for a condition instead of a time: checks again until the condition is true, and fails with
// its name after a deadline.
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS_MIN = 5
const POLL_MS_MAX = 50
/** A check that takes long is repeated less often: it may be a request that loads the machine. */
const PAUSE = 2
/**
 * Generous, because the machine may be busy with other things. Tests that need something to be fast
 * measure it instead.
 */
const DEADLINE_MS = 60_000

/**
 * @param what names the condition in the error
 * @param deadlineMs default 60 s; Infinity waits for as long as it takes
 * @throws Error when the condition is not true within the deadline
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  deadlineMs = DEADLINE_MS
): Promise<void> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    const startedMs = performance.now()
    if (await holds()) return
    const nowMs = performance.now()
    if (nowMs > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}`)
    await sleep(Math.min(POLL_MS_MAX, Math.max(POLL_MS_MIN, PAUSE * (nowMs - startedMs))))
  }
}
