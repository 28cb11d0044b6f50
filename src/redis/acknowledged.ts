// Writes that must be on a replica. If the connection breaks before the acknowledgement, it is
// unknown whether a replica has the write, so the write is repeated until the deadline.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { DialogsError } from '../errors.js'
import { ConnectionLost, type Reply } from './connection.js'
import { type Written } from './node-pipeline.js'

const PAUSE_MS_MIN = 5
const PAUSE_MS_MAX = 200

/**
 * Writes, and repeats the write while nothing but its acknowledgement is lost with a connection.
 * @param write must be harmless if it runs twice
 * @param deadline on the clock of performance.now()
 * @returns the reply to the first attempt: a repetition finds the work done, so only the first
 * reply can tell how it was before
 * @throws DialogsError STORE_UNAVAILABLE after the deadline, or whatever else prevents the write
 */
export async function untilAcknowledged(
  write: () => Promise<Written>,
  deadline: number
): Promise<Reply> {
  let written = await write()
  const first = written.reply
  const repetitions = new Repetitions(deadline)
  for (;;) {
    try {
      await written.replicated
      return first
    } catch (error) {
      await repetitions.after(error)
    }
    written = await write()
  }
}

/**
 * Repetitions of one write. The first one is sent at once, because it usually reaches the new
 * master. Later ones pause: a master that was restarted answers immediately, but its writes are not
 * safe while the other masters still call it failed, which lasts for seconds.
 */
export class Repetitions {
  readonly #deadline: number
  #count = 0

  /** @param deadline on the clock of performance.now() */
  constructor(deadline: number) {
    this.#deadline = deadline
  }

  /** Resolves when the write may be repeated. @throws as throwUnlessLost */
  async after(error: unknown): Promise<void> {
    // OVERLOADED says that nothing was written, which is true only of a first attempt.
    if (this.#count > 0 && error instanceof DialogsError && error.code === 'OVERLOADED') {
      throw new DialogsError(
        'STORE_UNAVAILABLE',
        'The store could not confirm it: try again with the same Idempotency-Key.',
        { cause: error }
      )
    }
    throwUnlessLost(error, this.#deadline)
    if (this.#count > 0) await sleep(backoffMs(this.#count - 1, PAUSE_MS_MIN, PAUSE_MS_MAX))
    this.#count++
  }
}

/**
 * Returns if a write may be repeated: only its acknowledgement was lost, and there is time left.
 * @throws DialogsError STORE_UNAVAILABLE after the deadline, and any other error as it is
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
