// What a repeated Idempotency-Key means: the message is stored once, and a repetition answers with
// the stored message. Invariant: what is answered survives a failover. The first call may have been
// cut off before its acknowledgement, so a repetition waits for the acknowledgement itself, and
// puts the text back if a failover has taken it.
import { DialogsError } from '../errors.js'
import { isChange, isDeleted, isLost, parseReference, type Message } from '../message/message.js'
import { Repetitions } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { type Appender, type NewMessage } from './appender.js'
import { type BlockWriter } from './block-writer.js'
import { type History } from './history.js'
import { logKey, onceKey, roomSlot } from './keys.js'
import { type Log, refuseGone } from './log.js'
import { TOUCH_KEY } from './scripts.js'

/** `isNew` is false if the message was stored by an earlier call. */
export type Appended = { readonly message: Message; readonly isNew: boolean }

export type IdempotencyParts = {
  readonly log: Log
  readonly history: History
  readonly appender: Appender
  readonly blockWriter: BlockWriter
}

export class Idempotency {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #history: History
  readonly #appender: Appender
  readonly #blockWriter: BlockWriter
  readonly #publish: (room: string, messages: readonly Message[]) => void
  readonly #inFlight = new Map<string, Promise<Message>>()

  /** @param publish called again for a message whose first call may have died before publishing */
  constructor(
    cluster: Cluster,
    parts: IdempotencyParts,
    publish: (room: string, messages: readonly Message[]) => void
  ) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#history = parts.history
    this.#appender = parts.appender
    this.#blockWriter = parts.blockWriter
    this.#publish = publish
  }

  /**
   * Stores a message under the key `once`, unless the key is known. Repetitions that reach this
   * process while the first call is in flight share its outcome.
   * @throws DialogsError IDEMPOTENCY_CONFLICT if the key belongs to a change, or to a message of
   * another user or text; MESSAGE_DELETED, MESSAGE_EXPIRED or MESSAGE_LOST if the message is gone;
   * otherwise as Appender.append
   */
  async append(message: NewMessage, once: string, deadline: number): Promise<Appended> {
    const key = `${once} ${message.room}`
    const earlier = this.#inFlight.get(key)
    if (earlier !== undefined) {
      return { message: sameOrConflict(await earlier, message), isNew: false }
    }
    const appended = this.#append(message, once, deadline)
    const settled = appended.then(({ message }) => message)
    settled.catch(() => undefined)
    this.#inFlight.set(key, settled)
    try {
      return await appended
    } finally {
      this.#inFlight.delete(key)
    }
  }

  // Looks for the key first, so that a late repetition adds no entry to a block. If an
  // acknowledgement fails, a failover may have taken back the message or the key, so the key is
  // looked up again.
  async #append(message: NewMessage, once: string, deadline: number): Promise<Appended> {
    const { room, user, text } = message
    const repetitions = new Repetitions(deadline)
    for (;;) {
      try {
        const known = await this.#cluster.command(
          roomSlot(room),
          ['GET', onceKey(room, once)],
          deadline
        )
        if (known !== null) return await this.#repeated(message, Number(known), deadline)
        const { seq, ms, isNew } = await this.#appender.append(message, deadline)
        return isNew
          ? { message: { room, seq, user, text, ms }, isNew }
          : await this.#repeated(message, seq, deadline)
      } catch (error) {
        await repetitions.after(error)
      }
    }
  }

  async #repeated(message: NewMessage, seq: number, deadline: number): Promise<Appended> {
    const { room, text } = message
    const entry = await this.#history.glance(room, seq)
    const reference = (await this.#log.range(room, seq, seq))[0]?.reference
    if (entry === undefined || reference === undefined) throw await this.#absence(room, seq)
    const { tag, id, user, ms } = parseReference(reference)
    if (isChange(entry)) {
      throw new DialogsError(
        'IDEMPOTENCY_CONFLICT',
        `This Idempotency-Key was used for a change (sequence ${seq}): use a new key for a message.`
      )
    }
    if (isDeleted(entry)) {
      throw new DialogsError('MESSAGE_DELETED', `Message ${seq} of room ${room} is deleted.`)
    }
    // Of a lost message only the user is known. The repetition brings the text back.
    const stored = sameOrConflict(isLost(entry) ? { room, seq, user, text, ms } : entry, message)
    // A message that was changed was stored and seen, so its first text must not be put back.
    if (stored.changedMs !== undefined) return { message: stored, isNew: false }
    const { replicated } = await this.#cluster.write(
      roomSlot(room),
      ['EVALSHA', TOUCH_KEY.sha, '1', logKey(room)],
      deadline
    )
    await replicated
    await this.#blockWriter.ensure({ room, tag, id, text, deadline })
    // The first call may have died before it published. Readers that have the message drop the
    // duplicate.
    this.#publish(room, [stored])
    return { message: stored, isNew: false }
  }

  // A message is lost only if its sequence is within the log. If the log is shorter, it may be out
  // of reach for a moment; a client told to use a new key would then store the message twice.
  async #absence(room: string, seq: number): Promise<DialogsError> {
    await refuseGone(this.#log, room, seq)
    const head = (await this.#log.head(room))?.seq ?? 0
    return head < seq
      ? new DialogsError(
          'STORE_UNAVAILABLE',
          'The message of this Idempotency-Key is out of reach for the moment: try again with the same key.'
        )
      : new DialogsError(
          'MESSAGE_LOST',
          'The message of this Idempotency-Key has been lost: send it again with a new key.'
        )
  }
}

function sameOrConflict(stored: Message, repeated: NewMessage): Message {
  // The first text of a changed message is not known any more, so it is not compared.
  const isOther = stored.text !== repeated.text && stored.changedMs === undefined
  if (stored.user !== repeated.user || isOther) {
    throw new DialogsError(
      'IDEMPOTENCY_CONFLICT',
      `This Idempotency-Key was used for another message (sequence ${stored.seq}): use a new key for a new message.`
    )
  }
  return stored
}
