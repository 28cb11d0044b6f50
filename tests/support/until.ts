// Waits for a condition instead of a time: checks again until the condition is true, and fails with
// its name after a deadline.
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 5
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
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}`)
    await sleep(POLL_MS)
  }
}
