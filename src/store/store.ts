// The store as the rest of the process sees it: append a message, read messages, ask about a room.
// It builds its parts and connects them; each part says itself what it promises.
import { DialogsError, isTemporary } from '../errors.js'
import { type Change, type Entry, type Message } from '../message/message.js'
import { type Cluster } from '../redis/cluster.js'
import { type ShardOf } from '../shares.js'
import { AcknowledgedHeads } from './acknowledged-heads.js'
import { Admission, type AdmissionOptions } from './admission.js'
import { Appender, type AppenderOptions, type NewMessage } from './appender.js'
import { BlockWriter } from './block-writer.js'
import { Blocks } from './blocks.js'
import { Changes, type NewChange } from './changes.js'
import { Committer, type CommitterOptions } from './committer.js'
import { Deletions } from './deletions.js'
import { Dialogs } from './dialogs.js'
import { History } from './history.js'
import { type Appended, Idempotency } from './idempotency.js'
import { Inbox } from './inbox.js'
import { roomChannel, roomSlot } from './keys.js'
import { Log, refuseGone } from './log.js'
import { Members } from './members.js'
import { type PageAsked, pauseBeforeRereading, type PageLog, readPageLog } from './page-log.js'
import { Pieces } from './pieces.js'
import { PublishOrder } from './publish-order.js'
import { ReadMarks } from './read-marks.js'
import { type PrefixDays, Retention } from './retention.js'
import { RoomCleaner } from './room-cleaner.js'
import { Sealer } from './sealer.js'
import { ListUpdates } from './list-updates.js'
import { Users } from './users.js'

/** Which work behind an answer has failed. No client waits for that work. */
export type StoreFault =
  'count' | 'seal' | 'split' | 'withdraw' | 'put-back' | 'list' | 'news' | 'clean'

export type StoreOptions = Omit<AppenderOptions, 'publish'> &
  Omit<CommitterOptions, 'onFault' | 'onAcknowledged'> &
  AdmissionOptions & {
    readonly segmentLength: number
    readonly retentionDays: number
    readonly retentionDaysByPrefix: readonly PrefixDays[]
    readonly lostPatienceMs: number
    /** How long an interrupted deletion of a room is left alone; default six deadlines. */
    readonly deletionClaimMs?: number
    /** Called in the order of a room's sequences, as far as this process wrote them. */
    readonly publish: (room: string, entries: ReadonlyArray<Message | Change>) => void
    /**
     * Something may have been written that this process did not publish, and never will: whoever
     * follows the channel has to compare what they have with the store (peers.ts).
     */
    readonly onDoubt?: (channel: string) => void
    readonly onFault: (what: StoreFault, error: unknown) => void
  }

export class Store {
  readonly shardOf: ShardOf
  readonly log: Log
  readonly sealer: Sealer
  readonly history: History
  readonly users: Users
  readonly blocks: Blocks
  readonly blockWriter: BlockWriter
  readonly appender: Appender
  readonly members: Members
  readonly inbox: Inbox
  readonly listUpdates: ListUpdates
  readonly deletions: Deletions
  readonly cleaner: RoomCleaner
  readonly acknowledged: AcknowledgedHeads
  readonly #idempotency: Idempotency
  readonly #changes: Changes
  readonly #dialogs: Dialogs
  readonly #marks: ReadMarks
  readonly #options: StoreOptions
  readonly #admission: Admission

  constructor(cluster: Cluster, options: StoreOptions) {
    this.#options = options
    this.shardOf = slot => cluster.topology.ownerOf(slot)
    this.#admission = new Admission(options, this.shardOf)
    const { steps } = this.#admission
    const { lostPatienceMs, onFault, storeDeadlineMs: deadlineMs } = options
    const faultOf =
      (what: StoreFault) =>
      (error: unknown): void => {
        onFault(what, error)
      }
    const retention = new Retention(options.retentionDays, options.retentionDaysByPrefix)
    const pieces = new Pieces(cluster, options.segmentLength)
    const publishOrder = new PublishOrder()
    const log = new Log(cluster, pieces, retention)
    const sealer = new Sealer(cluster, { pieces, log, retention }, faultOf('seal'))
    const history = new History(cluster, log, lostPatienceMs)
    const users = new Users(cluster, faultOf('split'))
    const marks = new ReadMarks(cluster, faultOf('split'))
    const dialogs = new Dialogs(cluster, marks, faultOf('split'))
    const members = new Members(cluster, users, dialogs, {
      deadlineMs,
      onFault: (error, channel) => {
        onFault('news', error)
        options.onDoubt?.(channel)
      }
    })
    const listUpdates = new ListUpdates(members, {
      deadlineMs,
      shardOf: this.shardOf,
      onFault: faultOf('list')
    })
    members.onRemoved((room, user) => {
      listUpdates.forget(room, user)
    })
    const blockWriter = new BlockWriter(cluster, log, { retention, onFault })
    const acknowledged = new AcknowledgedHeads(cluster)
    const committer = new Committer(cluster, log, users, {
      ...options,
      onAcknowledged: (room, seq, ms) => {
        acknowledged.note(room, seq, ms)
      }
    })
    const appender = new Appender(
      cluster,
      { blockWriter, committer, sealer, publishOrder, steps },
      {
        ...options,
        publish: (room, messages, generation) => {
          options.publish(room, messages)
          listUpdates.wrote(room, messages, generation)
        }
      }
    )
    this.acknowledged = acknowledged
    this.log = log
    this.sealer = sealer
    this.history = history
    this.users = users
    this.blocks = new Blocks(cluster, log, users, options.blockLength)
    this.blockWriter = blockWriter
    this.appender = appender
    this.members = members
    this.inbox = new Inbox(
      cluster,
      { log, history, members, dialogs, marks },
      { deadlineMs, shardOf: this.shardOf }
    )
    this.listUpdates = listUpdates
    this.cleaner = new RoomCleaner(
      cluster,
      { members, dialogs },
      { blockLength: options.blockLength, segmentLength: options.segmentLength, deadlineMs }
    )
    this.deletions = new Deletions(
      cluster,
      { log, members, cleaner: this.cleaner },
      {
        deadlineMs,
        claimMs: options.deletionClaimMs,
        onFault: faultOf('clean')
      }
    )
    this.#idempotency = new Idempotency(
      cluster,
      { log, history, appender, blockWriter },
      options.publish
    )
    this.#changes = new Changes(
      cluster,
      { log, history, committer, sealer, publishOrder, steps },
      {
        lostPatienceMs,
        retention,
        publish: (room, change) => {
          options.publish(room, [change])
        }
      }
    )
    this.#dialogs = dialogs
    this.#marks = marks
  }

  /**
   * Resolves when everything that was accepted, and what follows from it, is done or was given up.
   * A POST that was answered 503 at its deadline may be committed a moment later, and must then be
   * published. Nobody else would notice it, because a process that stops in peace is not missed.
   */
  async settled(): Promise<void> {
    await this.#admission.settled()
    await this.appender.settled()
    await this.listUpdates.allSettled()
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
      roomSlot(message.room),
      deadline =>
        once === undefined
          ? this.#appendNew(message, deadline)
          : this.#idempotency.append(message, once, deadline),
      error => {
        this.#failed(message.room, error)
      }
    )
  }

  /**
   * Changes a message's text, or deletes it. Returns the change as the room's order tells it.
   * @throws DialogsError as Admission.admit and Changes.change
   */
  change(change: NewChange): Promise<Change> {
    return this.#admission.admit(
      change.text ?? '',
      roomSlot(change.room),
      deadline => this.#changes.change(change, deadline),
      error => {
        this.#failed(change.room, error)
      }
    )
  }

  // What failed may be in the log nevertheless, and was not published. What was refused is not.
  #failed(room: string, error: unknown): void {
    const isRefused = error instanceof DialogsError && error.code === 'OVERLOADED'
    if (isTemporary(error) && !isRefused) this.#options.onDoubt?.(roomChannel(room))
  }

  async #appendNew(message: NewMessage, deadline: number): Promise<Appended> {
    const { room, user, text } = message
    const { seq, ms, isNew } = await this.appender.append(message, deadline)
    return { message: { room, seq, user, text, ms }, isNew }
  }

  /** The last sequence of a room; 0 if the room has no messages. */
  async head(room: string): Promise<number> {
    return (await this.log.head(room))?.seq ?? 0
  }

  /**
   * The log entries of a page of messages, and the room's last sequence. Replicas have all of it.
   * @throws DialogsError STORE_UNAVAILABLE
   */
  async pageLog(asked: PageAsked): Promise<PageLog> {
    return await readPageLog(this.log, this.acknowledged, asked, this.#deadline())
  }

  /**
   * One message; undefined if the room has no such sequence.
   * @throws DialogsError MESSAGE_DELETED if it is gone with its room; MESSAGE_EXPIRED;
   * STORE_UNAVAILABLE if the log or the text is out of reach
   */
  async message(room: string, seq: number): Promise<Entry | undefined> {
    const entry = await this.#acknowledged(room, seq)
    // Throws if the log is out of reach, so that undefined always means that there is no such
    // message.
    if (entry !== undefined) return entry
    await this.head(room)
    await refuseGone(this.log, room, seq)
    return undefined
  }

  async #acknowledged(room: string, seq: number): Promise<Entry | undefined> {
    const deadline = this.#deadline()
    for (let tries = 0; ; tries++) {
      const [entry] = await this.history.range(room, seq, seq)
      if (entry === undefined) return undefined
      const acknowledgement = await this.acknowledged.ask(room, entry, deadline)
      if (acknowledgement === 'acknowledged') return entry
      // Only what a replica has is sealed.
      if (acknowledgement === 'sealed') return (await this.history.range(room, seq, seq))[0]
      await pauseBeforeRereading(tries, deadline)
    }
  }

  #deadline(): number {
    return performance.now() + this.#options.storeDeadlineMs
  }
}
