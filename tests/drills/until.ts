// Waiting for a condition: looks again until it holds.
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 20
/** Generous: the machine may be busy with other things. What must be fast is measured, not timed out. */
const DEADLINE_MS = 60_000

/** @throws Error with what did not come to be within the deadline, by default 60 s */
export async function until (what: string, holds: () => boolean | Promise<boolean>, deadlineMs = DEADLINE_MS): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`Not within ${deadlineMs / 1000} s: ${what}`)
    await sleep(POLL_MS)
  }
}
