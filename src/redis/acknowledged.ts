// Writes that must be on a replica. If the connection breaks before the acknowledgement, nobody
// knows whether a replica has the write, so it is repeated until the deadline.
import { DialogsError } from '../errors.js'
import { ConnectionLost } from './connection.js'
import { type Written } from './node-pipeline.js'

/**
 * Writes, and repeats the write while only its acknowledgement is lost with a connection.
 * @param write must be harmless if it runs twice
 * @param deadline on the clock of performance.now()
 * @throws DialogsError STORE_UNAVAILABLE after the deadline, or whatever else prevents the write
 */
export async function untilAcknowledged(
  write: () => Promise<Written>,
  deadline: number
): Promise<void> {
  for (;;) {
    const { replicated } = await write()
    try {
      return await replicated
    } catch (error) {
      throwUnlessLost(error, deadline)
    }
  }
}

/**
 * Returns only if the write may be repeated: its acknowledgement was lost, and there is time left.
 */
export function throwUnlessLost(error: unknown, deadline: number): void {
  if (!(error instanceof ConnectionLost)) throw error
  if (performance.now() >= deadline) {
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'The store does not acknowledge: try again with the same Idempotency-Key.',
      { cause: error }
    )
  }
}
