// Changing and deleting messages. The order of the steps is the crash safety:
//
// 1 apply        CHANGE on the block: the entry leaves it, what became of it goes beside it.
//                Crash after it: readers of pages see the change, nobody was told in the order;
//                `npm run check -- --repair` tells it, and so does a repetition.
// 2 acknowledge  WAIT on the master of 1: a failover cannot bring a deleted text back.
// 3 commit       the change gets a sequence of its own in the log. Crash after it: readers find it
//                when they next look at the log.
// 4 acknowledge  WAIT on the master of 3.
// 5 read, publish and answer. Another call may have changed the message again and told it first:
//                what is published is what is true now, as in history. Otherwise readers would be
//                left with a text that is no more, even a deleted one.
//
// Invariant: whoever is told of a change in the order finds it applied. Reading looks beside a
// block only for an entry that is missing there, so unchanged messages cost nothing.
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { throwUnlessLost } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import {
  formatChange,
  isChange,
  parseReference,
  type Change,
  type Reference
} from '../message/message.js'
import { CHANGE, type ChangeReply } from './block-scripts.js'
import { type Committer, OtherGeneration } from './committer.js'
import { type History } from './history.js'
import { blockKey, changedKey, logKey, onceKey, roomSlot } from './keys.js'
import { type Log, refuseGone } from './log.js'
import { type LogEntry } from './pieces.js'
import { type PublishOrder } from './publish-order.js'
import { type Retention } from './retention.js'
import { TOUCH_KEY } from './scripts.js'
import { type Sealer } from './sealer.js'

export type NewChange = {
  readonly room: string
  /** The message's sequence. */
  readonly seq: number
  /** Its new text; undefined deletes it. */
  readonly text: string | undefined
  /** Who the message must be from; undefined: from anybody. */
  readonly author: string | undefined
  readonly once: string | undefined
}

export type ChangesParts = {
  readonly log: Log
  readonly history: History
  readonly committer: Committer
  readonly sealer: Sealer
  readonly publishOrder: PublishOrder
}

export type ChangesOptions = {
  readonly lostPatienceMs: number
  readonly retention: Retention
  readonly publish: (room: string, change: Change) => void
}

const LOOK_AGAIN_MS = 50
/** A change is not counted as anybody's message. */
const NOBODY: ReadonlyMap<string, number> = new Map()
/** A text may still be put back for so long after its message was committed. */
const FRESH_MS = 30_000
/**
 * How long after a deletion its repetition looks whether it was told. Later that is for a check.
 */
const RETELL_MS = 600_000

export class Changes {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #history: History
  readonly #committer: Committer
  readonly #sealer: Sealer
  readonly #publishOrder: PublishOrder
  readonly #options: ChangesOptions

  constructor(cluster: Cluster, parts: ChangesParts, options: ChangesOptions) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#history = parts.history
    this.#committer = parts.committer
    this.#sealer = parts.sealer
    this.#publishOrder = parts.publishOrder
    this.#options = options
  }

  /**
   * Changes or deletes a message, steps 1 to 5. Answers the change as the order tells it. A
   * repeated Idempotency-Key answers with the change that it led to.
   * @throws DialogsError MESSAGE_NOT_FOUND, NOT_A_MESSAGE (a change is none), FORBIDDEN (another
   * author), MESSAGE_DELETED, MESSAGE_LOST, IDEMPOTENCY_CONFLICT; or as Cluster.write: then it may
   * have been applied, and what a repetition does not tell, `npm run check -- --repair` does
   */
  async change(change: NewChange, deadline: number): Promise<Change> {
    const { room, once } = change
    for (;;) {
      try {
        const known =
          once === undefined
            ? null
            : await this.#cluster.command(roomSlot(room), ['GET', onceKey(room, once)], deadline)
        if (known !== null) return await this.#repeated(change, Number(known), deadline)
        const reference = await this.#target(change)
        const { n, ms } = await this.#apply(change, reference, deadline)
        const told = await this.#tell(change, reference, n, ms, deadline)
        if (told !== undefined) return told
        // Another call with this key was faster: the next round finds what it led to.
      } catch (error) {
        throwUnlessLost(error, deadline)
      }
    }
  }

  /**
   * Steps 3 to 5, for a change that was applied and not told yet.
   * @returns undefined if its Idempotency-Key belongs to something else
   */
  async #tell(
    { room, seq, text, once }: NewChange,
    { tag, id, generation }: Reference,
    n: number,
    ms: number,
    deadline: number
  ): Promise<Change | undefined> {
    const reference = formatChange(tag, id, { seq, n, ms, isDeletion: text === undefined })
    try {
      const { first, durable } =
        once === undefined
          ? await this.#committer.commit(room, [reference], NOBODY, generation, deadline)
          : await this.#committer.commitOnce(room, reference, '', once, generation, deadline)
      const told = durable.then(at =>
        at === undefined ? undefined : this.#read(room, seq, { seq: at, reference })
      )
      this.#publishOrder.add(room, told, change => {
        this.#options.publish(room, change)
      })
      this.#sealer.committed(room, first, first)
      return await told
    } catch (error) {
      throw error instanceof OtherGeneration ? deleted(room, seq) : error
    }
  }

  async #read(room: string, seq: number, told: LogEntry): Promise<Change> {
    const [entry] = await this.#history.entries(room, [told])
    if (entry === undefined || !isChange(entry)) throw lost(room, seq)
    return entry
  }

  async #target({ room, seq, author }: NewChange): Promise<Reference> {
    const [entry] = await this.#log.range(room, seq, seq)
    if (entry === undefined) {
      // Throws if the log is out of reach.
      await this.#log.head(room)
      await refuseGone(this.#log, room, seq)
      throw new DialogsError('MESSAGE_NOT_FOUND', `Room ${room} has no message ${seq} (yet).`)
    }
    if (entry.reference === undefined) throw lost(room, seq)
    const reference = parseReference(entry.reference)
    if (reference.change !== undefined) {
      throw new DialogsError(
        'NOT_A_MESSAGE',
        `${seq} in room ${room} is the change of message ${reference.change.seq}: change that one.`
      )
    }
    if (author !== undefined && author !== reference.user) {
      throw new DialogsError('FORBIDDEN', `Message ${seq} of room ${room} is from somebody else.`)
    }
    return reference
  }

  // Steps 1 and 2. The token makes it safe to run the script again, also by a repetition through
  // another process.
  async #apply(
    { room, seq, text, once }: NewChange,
    reference: Reference,
    deadline: number
  ): Promise<{ n: number; ms: number }> {
    const { tag, id } = reference
    const key = blockKey(room, tag)
    const token = once === undefined ? randomBytes(9).toString('base64url') : tokenOf(room, once)
    const content = text === undefined ? ['d', ''] : ['t', text]
    const until = Math.min(deadline, performance.now() + this.#options.lostPatienceMs)
    for (;;) {
      const { reply, replicated } = await this.#cluster.write(
        slotOf(key),
        // The clock is asked anew each time: a repetition that finds nothing is a new change.
        [
          'EVALSHA',
          CHANGE.sha,
          '2',
          key,
          changedKey(key),
          id,
          token,
          ...content,
          String(Date.now()),
          ...this.#expiry(room)
        ],
        deadline
      )
      // CHANGE answers a ChangeReply.
      const answer = reply as unknown as ChangeReply
      if (answer[0] === 'lost') {
        // Its writer may put the text back: until then nothing can be said.
        if (reference.ms < Date.now() - FRESH_MS || performance.now() > until) throw lost(room, seq)
        await sleep(LOOK_AGAIN_MS)
        continue
      }
      try {
        await replicated
      } catch (error) {
        throwUnlessLost(error, deadline)
        continue
      }
      const [outcome, n, ms] = answer
      if (
        outcome === 'deleted' &&
        (text !== undefined || !(await this.#isUntold(room, seq, reference, n, ms)))
      ) {
        throw deleted(room, seq)
      }
      return { n, ms }
    }
  }

  // Whatever is changed now is gone by then.
  #expiry(room: string): string[] {
    const expiryMs = this.#options.retention.expiryMs(room, Date.now())
    return expiryMs === undefined ? [] : [String(expiryMs)]
  }

  // A deletion is repeated because nobody answered it: its process may have died before it told.
  async #isUntold(
    room: string,
    seq: number,
    { tag, id }: Reference,
    n: number,
    ms: number
  ): Promise<boolean> {
    if (ms < Date.now() - RETELL_MS) return false
    const head = (await this.#log.head(room))?.seq ?? 0
    const reference = formatChange(tag, id, { seq, n, ms, isDeletion: true })
    return (await this.#log.find(room, reference, seq + 1, head)) === undefined
  }

  async #repeated(
    { room, seq, text }: NewChange,
    toldAt: number,
    deadline: number
  ): Promise<Change> {
    const [entry] = await this.#log.range(room, toldAt, toldAt)
    const mark = entry?.reference === undefined ? undefined : parseReference(entry.reference).change
    const change = await this.#history.glance(room, toldAt)
    await refuseGone(this.#log, room, toldAt)
    if (mark === undefined || change === undefined || !isChange(change)) {
      throw new DialogsError(
        'IDEMPOTENCY_CONFLICT',
        `This Idempotency-Key was used for another message (sequence ${toldAt}): use a new key.`
      )
    }
    if (mark.seq !== seq || mark.isDeletion !== (text === undefined)) {
      throw new DialogsError(
        'IDEMPOTENCY_CONFLICT',
        `This Idempotency-Key was used for another change (sequence ${toldAt}): use a new key.`
      )
    }
    const { replicated } = await this.#cluster.write(
      roomSlot(room),
      ['EVALSHA', TOUCH_KEY.sha, '1', logKey(room)],
      deadline
    )
    await replicated
    this.#options.publish(room, change)
    return change
  }
}

// The key of one room is another change than the same key of another.
const tokenOf = (room: string, once: string): string =>
  createHash('sha256').update(`${room}\n${once}`).digest('base64url').slice(0, 22)

const deleted = (room: string, seq: number): DialogsError =>
  new DialogsError('MESSAGE_DELETED', `Message ${seq} of room ${room} is deleted.`)

const lost = (room: string, seq: number): DialogsError =>
  new DialogsError('MESSAGE_LOST', `Message ${seq} of room ${room} has been lost by the store.`)
