// The store as the rest of the process sees it: append a message, read messages, ask about a room.
// It puts admission, appender, log and history together. Its own logic is what a repeated
// idempotency key means.
import { DialogsError, isTemporary } from '../errors.js'
import { throwUnlessLost } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { logKey, onceKey, roomChannel, roomSlot } from './keys.js'
import { TOUCH_KEY } from './scripts.js'
import { Admission, type AdmissionOptions } from './admission.js'
import { Appender, type AppenderOptions, type NewMessage } from './appender.js'
import { Blocks } from './blocks.js'
import { Changes, type NewChange } from './changes.js'
import { Deletions } from './deletions.js'
import { Dialogs } from './dialogs.js'
import { History } from './history.js'
import { Inbox } from './inbox.js'
import { Log, refuseGone } from './log.js'
import { Pieces } from './pieces.js'
import { Members } from './members.js'
import { ReadMarks } from './read-marks.js'
import { type PrefixDays, Retention } from './retention.js'
import { Sealer } from './sealer.js'
import { Touches } from './touches.js'
import { Users } from './users.js'
import {
  isChange,
  isDeleted,
  isLost,
  parseReference,
  type Change,
  type Entry,
  type Message
} from '../message/message.js'

export type StoreOptions = Omit<AppenderOptions, 'publish' | 'retention'> &
  AdmissionOptions & {
    readonly segmentLength: number
    readonly retentionDays: number
    readonly retentionDaysByPrefix: readonly PrefixDays[]
    readonly lostPatienceMs: number
    /** How long an interrupted deletion of a room is left alone; default a minute. */
    readonly deletionClaimMs?: number
    /** Called in the order of a room's sequences, as far as this process wrote them. */
    readonly publish: (room: string, entries: ReadonlyArray<Message | Change>) => void
    /**
     * Something may have been written that this process did not publish, and will not: whoever
     * follows the channel has to compare what they have with the store (peers.ts).
     */
    readonly onDoubt?: (channel: string) => void
  }

export type Appended = { readonly message: Message; readonly isNew: boolean }

export class Store {
  readonly log: Log
  readonly sealer: Sealer
  readonly history: History
  readonly users: Users
  readonly blocks: Blocks
  readonly appender: Appender
  readonly members: Members
  readonly inbox: Inbox
  readonly touches: Touches
  readonly deletions: Deletions
  readonly #changes: Changes
  readonly #dialogs: Dialogs
  readonly #marks: ReadMarks
  readonly #cluster: Cluster
  readonly #options: StoreOptions
  readonly #admission: Admission
  readonly #once = new Map<string, Promise<Message>>()

  constructor(cluster: Cluster, options: StoreOptions) {
    this.#cluster = cluster
    this.#options = options
    const retention = new Retention(options.retentionDays, options.retentionDaysByPrefix)
    const pieces = new Pieces(cluster, options.segmentLength)
    this.log = new Log(cluster, pieces, retention)
    this.sealer = new Sealer(cluster, { pieces, log: this.log, retention }, error => {
      options.onFault('seal', error)
    })
    this.history = new History(cluster, this.log, options.lostPatienceMs)
    this.users = new Users(cluster, error => {
      options.onFault('split', error)
    })
    this.blocks = new Blocks(cluster, this.log, this.users, options.blockLength)
    this.#marks = new ReadMarks(cluster, error => {
      options.onFault('split', error)
    })
    this.#dialogs = new Dialogs(cluster, this.#marks, error => {
      options.onFault('split', error)
    })
    const { storeDeadlineMs: deadlineMs } = options
    this.members = new Members(cluster, this.users, this.#dialogs, {
      deadlineMs,
      onFault: (error, channel) => {
        options.onFault('news', error)
        options.onDoubt?.(channel)
      }
    })
    this.inbox = new Inbox(
      cluster,
      {
        log: this.log,
        history: this.history,
        members: this.members,
        dialogs: this.#dialogs,
        marks: this.#marks
      },
      deadlineMs
    )
    this.touches = new Touches(this.members, {
      deadlineMs,
      onFault: error => {
        options.onFault('list', error)
      }
    })
    this.members.onRemoved((room, user) => {
      this.touches.forget(room, user)
    })
    this.appender = new Appender(
      cluster,
      { log: this.log, sealer: this.sealer, users: this.users },
      {
        ...options,
        retention,
        publish: (room, messages) => {
          options.publish(room, messages)
          this.touches.wrote(room, messages)
        }
      }
    )
    this.#changes = new Changes(
      cluster,
      { log: this.log, history: this.history, appender: this.appender },
      {
        lostPatienceMs: options.lostPatienceMs,
        retention,
        publish: (room, change) => {
          options.publish(room, [change])
        }
      }
    )
    this.deletions = new Deletions(
      cluster,
      { log: this.log, members: this.members, dialogs: this.#dialogs },
      {
        blockLength: options.blockLength,
        deadlineMs,
        claimMs: options.deletionClaimMs,
        onFault: error => {
          options.onFault('clean', error)
        }
      }
    )
    this.#admission = new Admission(options)
  }

  /**
   * Resolves when everything that was accepted is done or was given up, and what follows from it. A
   * POST that was answered 503 at its deadline may be committed a moment later, and must then be
   * published: nobody else would notice, because a process that stops in peace is not missed.
   */
  async settled(): Promise<void> {
    await this.#admission.settled()
    await this.appender.settled()
    await this.touches.allSettled()
    await this.deletions.settled()
    await Promise.all([this.#dialogs.settled(), this.#marks.settled(), this.members.settled()])
  }

  /** Messages that have been accepted and are not finished yet. */
  get queueLength(): number {
    return this.#admission.length
  }

  /**
   * Stores a message once. If the idempotency key is known, returns the message that it belongs to,
   * with `isNew` false.
   * @throws DialogsError IDEMPOTENCY_CONFLICT if that message has another user or text; otherwise
   * as Admission.admit and Appender.append
   */
  append(message: NewMessage): Promise<Appended> {
    const { once } = message
    return this.#admission.admit(
      message.text,
      deadline =>
        once === undefined
          ? this.#appendNew(message, deadline)
          : this.#appendKeyed(message, once, deadline),
      error => {
        this.#failed(message.room, error)
      }
    )
  }

  /**
   * Changes a message's text, or deletes it. Answers the change as the room's order tells it.
   * @throws DialogsError as Admission.admit and Changes.change
   */
  change(change: NewChange): Promise<Change> {
    return this.#admission.admit(
      change.text ?? '',
      deadline => this.#changes.change(change, deadline),
      error => {
        this.#failed(change.room, error)
      }
    )
  }

  // What failed may be in the log all the same, and was not published.
  #failed(room: string, error: unknown): void {
    if (isTemporary(error)) this.#options.onDoubt?.(roomChannel(room))
  }

  // Repetitions that reach this process while the first request is in flight share its outcome.
  async #appendKeyed(message: NewMessage, once: string, deadline: number): Promise<Appended> {
    const key = `${once} ${message.room}`
    const earlier = this.#once.get(key)
    if (earlier !== undefined) {
      return { message: sameOrConflict(await earlier, message), isNew: false }
    }
    const appended = this.#appendOnce(message, once, deadline)
    const settled = appended.then(({ message }) => message)
    settled.catch(() => undefined)
    this.#once.set(key, settled)
    try {
      return await appended
    } finally {
      this.#once.delete(key)
    }
  }

  async #appendNew(message: NewMessage, deadline: number): Promise<Appended> {
    const { room, user, text } = message
    const { seq, ms, isNew } = await this.appender.append(message, deadline)
    return { message: { room, seq, user, text, ms }, isNew }
  }

  // Looks for the key first, so that a late repetition adds no entry to a block. If an
  // acknowledgement fails, a failover may have taken back the message or the key, so the key is
  // looked up again.
  async #appendOnce(message: NewMessage, once: string, deadline: number): Promise<Appended> {
    for (;;) {
      try {
        const known = await this.#cluster.command(
          roomSlot(message.room),
          ['GET', onceKey(message.room, once)],
          deadline
        )
        if (known !== null) return await this.#repeated(message, Number(known), deadline)
        const appended = await this.#appendNew(message, deadline)
        return appended.isNew
          ? appended
          : await this.#repeated(message, appended.message.seq, deadline)
      } catch (error) {
        throwUnlessLost(error, deadline)
      }
    }
  }

  // The first call may have been cut off before its acknowledgement, so this one waits for it: its
  // answer must survive a failover as well.
  async #repeated(message: NewMessage, seq: number, deadline: number): Promise<Appended> {
    const { room, text } = message
    const entry = await this.history.glance(room, seq)
    const reference = (await this.log.range(room, seq, seq))[0]?.reference
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
    // Stored and seen by others, who have changed it since: nothing is to be put back.
    if (stored.changedMs !== undefined) return { message: stored, isNew: false }
    const { replicated } = await this.#cluster.write(
      roomSlot(room),
      ['EVALSHA', TOUCH_KEY.sha, '1', logKey(room)],
      deadline
    )
    await replicated
    await this.appender.ensure(room, tag, id, text, deadline)
    // The first call may have died before it published. Readers that have the message drop the
    // duplicate.
    this.#options.publish(room, [stored])
    return { message: stored, isNew: false }
  }

  // A message is lost only if its sequence is within the log. If the log is shorter, it may be out
  // of reach for a moment; a client told to use a new key would then store the message twice.
  async #absence(room: string, seq: number): Promise<DialogsError> {
    await refuseGone(this.log, room, seq)
    return (await this.head(room)) < seq
      ? new DialogsError(
          'STORE_UNAVAILABLE',
          'The message of this Idempotency-Key is out of reach for the moment: try again with the same key.'
        )
      : new DialogsError(
          'MESSAGE_LOST',
          'The message of this Idempotency-Key has been lost: send it again with a new key.'
        )
  }

  /** The last sequence of a room; 0 if the room has no messages. */
  async head(room: string): Promise<number> {
    return (await this.log.head(room))?.seq ?? 0
  }

  /**
   * One message; undefined if the room has no such sequence.
   * @throws DialogsError MESSAGE_DELETED if it is gone with its room, MESSAGE_EXPIRED
   */
  async message(room: string, seq: number): Promise<Entry | undefined> {
    const [entry] = await this.history.range(room, seq, seq)
    // Throws if the log is out of reach, so that undefined always means that there is no such
    // message.
    if (entry !== undefined) return entry
    await this.head(room)
    await refuseGone(this.log, room, seq)
    return undefined
  }
}

function sameOrConflict(stored: Message, repeated: NewMessage): Message {
  // What a changed message was at first is not known any more.
  const isOther = stored.text !== repeated.text && stored.changedMs === undefined
  if (stored.user !== repeated.user || isOther) {
    throw new DialogsError(
      'IDEMPOTENCY_CONFLICT',
      `This Idempotency-Key was used for another message (sequence ${stored.seq}): use a new key for a new message.`
    )
  }
  return stored
}
