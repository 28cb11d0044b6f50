// Sends a message so that one press of the button is one message: every attempt carries the same Idempotency-Key, and
// so does the next press if nobody knows how the last one ended. One message is under way at a time.
import { backoffMs, sleep } from './backoff.js'
import type { Message } from './message.js'
import { Refusal, type Room } from './room.js'

// Longer than a restart or a failover takes; after that the user decides.
const GIVE_UP_MS = 60_000

export interface Draft {
  readonly user: string
  readonly text: string
}

export class Outbox {
  readonly #room: Room
  #unresolved: { draft: Draft, key: string } | undefined

  constructor (room: Room) {
    this.#room = room
  }

  /**
   * Sends until the service has answered for good or a minute has passed.
   * @param onRetry is told why another attempt is needed
   * @throws Refusal with the service's reason, or whatever the last attempt failed with
   */
  async send (draft: Draft, onRetry: (error: unknown) => void): Promise<Message> {
    const key = this.#keyFor(draft)
    const giveUpAt = performance.now() + GIVE_UP_MS
    for (let failures = 1; ; failures++) {
      try {
        const message = await this.#room.post(draft, key)
        this.#unresolved = undefined
        return message
      } catch (error) {
        const isRefused = error instanceof Refusal
        if (isRefused && !error.isTemporary) {
          this.#unresolved = undefined
          throw error
        }
        const delayMs = Math.max(backoffMs(failures), isRefused ? error.retryAfterMs : 0)
        if (performance.now() + delayMs > giveUpAt) throw error
        onRetry(error)
        await sleep(delayMs)
      }
    }
  }

  #keyFor (draft: Draft): string {
    const last = this.#unresolved
    if (last?.draft.user === draft.user && last.draft.text === draft.text) return last.key
    const key = randomKey()
    this.#unresolved = { draft, key }
    return key
  }
}

/** crypto.randomUUID is missing on plain http origins other than localhost; getRandomValues is everywhere. */
function randomKey (): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
