// Waiting for a condition instead of a time: looks again until the condition holds, and fails with
// its name after a deadline.
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 5
/**
 * Generous, since the machine may be busy with other things: what must be fast is measured, not
 * timed out.
 */
const DEADLINE_MS = 60_000

/**
 * @param what names the condition in the error
 * @param deadlineMs default 60 s; Infinity waits for as long as it takes
 * @throws Error when the condition does not hold within the deadline
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
