// Waiting for a condition instead of a time: looks again until it holds, and fails with a name after a deadline.

/**
 * @param what names the condition in the error
 * @throws Error when it does not hold within the deadline
 */
export async function until (what: string, holds: () => boolean | Promise<boolean>, deadlineMs = 10_000): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
