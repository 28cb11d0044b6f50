// The messages that this page still has to send to its room. Invariant: one press of the button is
// one message. Each keeps its own Idempotency-Key through every attempt and every reload of the
// page, and the next one is sent only when the one before it was answered, so their order is kept.
// The outbox tries until the service has given a final answer; it never gives up by itself.
import { type Message, randomKey, Refusal } from '../src/client/dialogs.js'
import { type Entry } from './entry.js'
import { fieldsOf, keptJson, keep } from './memory.js'
import { type Room, reasonOf } from './room.js'

/** More than anyone types while the network is away. They must fit into the browser's storage. */
const LENGTH_MAX = 100
/**
 * The service remembers a key for a day. After that another attempt might store the message a
 * second time.
 */
const KEY_MS_MAX = 23 * 3_600_000

export type Draft = {
  readonly user: string
  readonly text: string
}

export type PendingMessage = Draft & {
  readonly key: string
  /** When it was first sent, in ms since 1970; 0 before that. */
  readonly sentAt: number
  /**
   * `stored` lasts until the stream has brought it. `failed` waits for the person to retry or
   * discard it.
   */
  readonly state: 'waiting' | 'sending' | 'stored' | 'failed'
  /** Why it failed, or why it has to be sent again. */
  readonly reason: string
  /** Its place in the room, once it is stored. */
  readonly seq: number
  /** The stream has brought what looks like this message, but the answer is still on its way. */
  readonly isShown: boolean
}

export type OutboxListener = {
  readonly onChange: (messages: readonly PendingMessage[]) => void
  readonly onStored: (message: Message) => void
  readonly onFailed: (reason: string) => void
  /** Nothing is sent before `resume`: the service requires a token, or another one. */
  readonly onUnauthenticated: (reason: string) => void
}

export class Outbox {
  readonly #room: Room
  readonly #listener: OutboxListener
  readonly #storageName: string
  #messages: PendingMessage[]
  #isRunning = false
  #isHeld = false

  constructor(room: Room, listener: OutboxListener) {
    this.#room = room
    this.#listener = listener
    this.#storageName = `outbox.${room.name}`
    this.#messages = keptMessages(this.#storageName)
  }

  get isFull(): boolean {
    return this.#messages.filter(({ state }) => state !== 'stored').length >= LENGTH_MAX
  }

  /** Continues with messages of an earlier visit to the page. */
  start(): void {
    this.#changed()
  }

  /** There is a token now. */
  resume(): void {
    this.#isHeld = false
    this.#changed()
  }

  add({ user, text }: Draft): void {
    this.#messages.push({
      user,
      text,
      key: randomKey(),
      sentAt: 0,
      state: 'waiting',
      reason: '',
      seq: 0,
      isShown: false
    })
    this.#changed()
  }

  /**
   * Sends a failed message again, as a new one: the service has given its final answer to the old
   * key, and the user's name may have changed.
   */
  retry(key: string, user: string): void {
    this.#update(key, { user, key: randomKey(), sentAt: 0, state: 'waiting', reason: '' })
  }

  discard(key: string): void {
    this.#messages = this.#messages.filter(each => each.key !== key)
    this.#changed()
  }

  /** The stream has brought an entry: a message that it shows is no longer shown as pending. */
  saw(entry: Entry): void {
    const left = this.#messages.filter(({ state, seq }) => state !== 'stored' || seq > entry.seq)
    if (left.length < this.#messages.length) {
      this.#messages = left
      this.#changed()
    }
    const first = this.#messages.find(({ state }) => state === 'sending')
    if (
      first !== undefined &&
      'user' in entry &&
      entry.user === first.user &&
      entry.text === first.text
    ) {
      this.#update(first.key, { isShown: true })
    }
  }

  #changed(): void {
    keep(this.#storageName, this.#messages)
    this.#listener.onChange(this.#messages)
    void this.#run()
  }

  #update(key: string, change: Partial<PendingMessage>): void {
    this.#messages = this.#messages.map(each => (each.key === key ? { ...each, ...change } : each))
    this.#changed()
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    for (let next = this.#next(); next !== undefined; next = this.#next()) await this.#send(next)
    this.#isRunning = false
  }

  #next(): PendingMessage | undefined {
    return this.#isHeld ? undefined : this.#messages.find(({ state }) => state === 'waiting')
  }

  async #send({ key, sentAt, user, text }: PendingMessage): Promise<void> {
    const firstSentAt = sentAt === 0 ? Date.now() : sentAt
    const leftMs = KEY_MS_MAX - (Date.now() - firstSentAt)
    this.#update(key, { state: 'sending', sentAt: firstSentAt })
    try {
      if (leftMs <= 0) throw new Error('too late')
      const message = await this.#room.post(
        { user, text },
        {
          key,
          retryMsMax: leftMs,
          onRetry: error => this.#update(key, { reason: reasonOf(error) })
        }
      )
      this.#update(key, { state: 'stored', seq: message.seq, reason: '' })
      this.#listener.onStored(message)
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) return this.#hold(key, error.message)
      const isRefused = error instanceof Refusal && !error.isTemporary
      this.#fail(
        key,
        isRefused
          ? error.message
          : 'It was first sent a day ago. Nobody knows whether it was stored.'
      )
    }
  }

  #hold(key: string, reason: string): void {
    this.#isHeld = true
    this.#update(key, { state: 'waiting', reason: '' })
    this.#listener.onUnauthenticated(reason)
  }

  #fail(key: string, reason: string): void {
    this.#update(key, { state: 'failed', reason, isShown: false })
    this.#listener.onFailed(reason)
  }
}

/** A message that was being sent when the page was left must be sent again, with the same key. */
function keptMessages(storageName: string): PendingMessage[] {
  const kept = keptJson(storageName)
  if (!Array.isArray(kept)) return []
  return kept.map(parsePending).filter(({ state }) => state !== 'stored')
}

function parsePending(value: unknown): PendingMessage {
  const { user, text, key, sentAt, state, reason } = fieldsOf(value)
  return {
    user: String(user),
    text: String(text),
    key: String(key),
    sentAt: Number(sentAt),
    state: state === 'failed' || state === 'stored' ? state : 'waiting',
    reason: String(reason),
    seq: 0,
    isShown: false
  }
}
