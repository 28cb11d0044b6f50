// Changes and deletes messages, in five steps. Their order makes a crash harmless:
//
//    step           command                      a crash right after it leaves
//    1 apply        CHANGE: the entry leaves     a change that pages show, but that the order of
//                   its block, the new text      the room does not tell. A repetition tells it,
//                   goes beside the block        and so does `npm run check -- --repair`
//    2 acknowledge  WAIT on the master of 1      the same
//    3 commit       XADD room:{r}:log 0-*        a change that readers find when they next look at
//                                                the log
//    4 acknowledge  WAIT on the master of 3      the same
//    5 read, publish and answer 200              nothing
//
// Because of step 2, a failover cannot bring a deleted text back. Step 5 reads the message again,
// because another call may have changed it meanwhile and told so first. What is published is what
// the message says by then; otherwise readers could end with a text that is gone.
//
// Invariant: whoever reads of a change in the order finds it applied. Reading looks beside a block
// only for entries that are missing in it, so unchanged messages cost nothing.
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { Repetitions } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import {
  formatChange,
  isChange,
  parseReference,
  type Change,
  type Reference
} from '../message/message.js'
import { type Steps } from './admission.js'
import { CHANGE, type ChangeReply } from './block-scripts.js'
import { type Committer, OtherGeneration } from './committer.js'
import { FRESH_MS, type History } from './history.js'
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
  /** The user who must have written the message; undefined for anybody. */
  readonly author: string | undefined
  readonly once: string | undefined
}

export type ChangesParts = {
  readonly log: Log
  readonly history: History
  readonly committer: Committer
  readonly sealer: Sealer
  readonly publishOrder: PublishOrder
  readonly steps: Steps
}

export type ChangesOptions = {
  readonly lostPatienceMs: number
  readonly retention: Retention
  readonly publish: (room: string, change: Change) => void
}

const LOOK_AGAIN_MS = 50
/** A change is not counted as anybody's message. */
const NOBODY: ReadonlyMap<string, number> = new Map()
/**
 * A repeated deletion looks whether the log already tells of the first one. It does so for this
 * long; after that only `npm run check` does.
 */
const RETELL_MS = 600_000

export class Changes {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #history: History
  readonly #committer: Committer
  readonly #sealer: Sealer
  readonly #publishOrder: PublishOrder
  readonly #steps: Steps
  readonly #options: ChangesOptions

  constructor(cluster: Cluster, parts: ChangesParts, options: ChangesOptions) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#history = parts.history
    this.#committer = parts.committer
    this.#sealer = parts.sealer
    this.#publishOrder = parts.publishOrder
    this.#steps = parts.steps
    this.#options = options
  }

  /**
   * Changes or deletes a message, steps 1 to 5.
   * @returns the change as the order tells it; for a repeated Idempotency-Key, the change that the
   * first call led to
   * @throws DialogsError MESSAGE_NOT_FOUND, NOT_A_MESSAGE (the sequence is that of a change),
   * FORBIDDEN (another author), MESSAGE_DELETED, MESSAGE_EXPIRED, MESSAGE_LOST,
   * IDEMPOTENCY_CONFLICT; otherwise as Cluster.write, and then the change may have been applied: a
   * repetition or `npm run check -- --repair` tells it
   */
  async change(change: NewChange, deadline: number): Promise<Change> {
    const { room, once } = change
    const repetitions = new Repetitions(deadline)
    for (;;) {
      try {
        const known =
          once === undefined
            ? null
            : await this.#cluster.command(roomSlot(room), ['GET', onceKey(room, once)], deadline)
        if (known !== null) return await this.#repeated(change, Number(known), deadline)
        const reference = await this.#target(change)
        const share = this.#steps.enter(slotOf(blockKey(room, reference.tag)))
        const { n, ms } = await this.#apply(change, reference, deadline).finally(() => {
          this.#steps.leave(share)
        })
        const told = await this.#tell(change, reference, n, ms, deadline)
        if (told !== undefined) return told
        // Another call with this key was faster. The next round finds the change that it led to.
      } catch (error) {
        await repetitions.after(error)
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
          ? await this.#committer.commit(
              room,
              { references: [reference], counts: NOBODY, generation },
              deadline
            )
          : await this.#committer.commitOnce(
              room,
              { reference, user: '', once, generation },
              deadline
            )
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
    if (entry === undefined || !isChange(entry)) throw await this.#absence(room, seq)
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

  // Steps 1 and 2. Because of the token, the script may run again, even if the repetition comes
  // through another process.
  async #apply(
    { room, seq, text, once }: NewChange,
    reference: Reference,
    deadline: number
  ): Promise<{ n: number; ms: number }> {
    const { tag, id } = reference
    const key = blockKey(room, tag)
    const token = once === undefined ? randomBytes(9).toString('base64url') : tokenOf(room, once)
    const content = text === undefined ? ['d', ''] : ['t', text]
    // At most half of the time that is left, so that a lost message is called lost before the
    // deadline passes.
    const now = performance.now()
    const until = now + Math.min(this.#options.lostPatienceMs, (deadline - now) / 2)
    const repetitions = new Repetitions(deadline)
    for (;;) {
      const { reply, replicated } = await this.#cluster.write(
        slotOf(key),
        // The time is read for each attempt, because an earlier attempt may have changed nothing.
        // Then the message is changed now.
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
        // The writer of a fresh message may still put its text back, so this waits a moment.
        if (reference.ms < Date.now() - FRESH_MS || performance.now() > until) {
          throw await this.#absence(room, seq)
        }
        await sleep(LOOK_AGAIN_MS)
        continue
      }
      try {
        await replicated
      } catch (error) {
        await repetitions.after(error)
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

  // Why a message that was in the log has no text: its room may have been deleted since.
  async #absence(room: string, seq: number): Promise<DialogsError> {
    await refuseGone(this.#log, room, seq)
    return lost(room, seq)
  }

  // The hash of changes expires when a message written now would. Every message in it is older than
  // that, so all of them have expired by then.
  #expiry(room: string): string[] {
    const expiryMs = this.#options.retention.expiryMs(room, Date.now())
    return expiryMs === undefined ? [] : [String(expiryMs)]
  }

  // Whether the log has no entry yet that tells of a deletion. The process of the first call may
  // have died between steps 1 and 3, and the client now repeats its call.
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

// The room is part of the token, because the same key in two rooms means two changes.
const tokenOf = (room: string, once: string): string =>
  createHash('sha256').update(`${room}\n${once}`).digest('base64url').slice(0, 22)

const deleted = (room: string, seq: number): DialogsError =>
  new DialogsError('MESSAGE_DELETED', `Message ${seq} of room ${room} is deleted.`)

const lost = (room: string, seq: number): DialogsError =>
  new DialogsError('MESSAGE_LOST', `Message ${seq} of room ${room} has been lost by the store.`)
