// Writes messages, in five steps. Their order makes a crash harmless:
//
//    step           command                       a crash right after it leaves
//    1 number       INCRBY user:{u}:count         numbers that nobody uses: no harm
//    2 append       XADD <room>.{<u>.<block>}     an orphan in a block: no reader sees it,
//                                                 `npm run check` lists it
//    3 commit       XADD room:{r}:log 0-*         a message that nobody was told of: readers
//                                                 find it at their next look at the log
//    4 acknowledge  WAIT on the masters of 2, 3   the same
//    5 publish and answer 201                     nothing
//
// So a reader never sees a message that is not stored, and no sequence is ever missing. Because of
// step 4, a failover cannot take back what was answered. Requests go in groups: whatever arrives
// for a user, a block or a room while its last group is in flight becomes the next group
// (lanes.ts). Nothing waits on a timer. If the outcome of a step is unknown, step 1 or 2 is simply
// repeated; step 3 first looks whether it has already happened (committer.ts).
import { blockTag, entryIdAfter, formatReference, type Message } from '../message/message.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { type Share } from '../shares.js'
import { type Steps } from './admission.js'
import { type BlockWriter } from './block-writer.js'
import { type Commit, type Committer, OtherGeneration } from './committer.js'
import { blockKey, userSlot } from './keys.js'
import { Lanes } from './lanes.js'
import { NotMembers } from './members.js'
import { Numbers } from './numbers.js'
import { type PublishOrder } from './publish-order.js'
import { type Sealer } from './sealer.js'

export type NewMessage = {
  readonly room: string
  readonly user: string
  readonly text: string
  readonly once: string | undefined
  /** The user may write only as a member: refused if they are none when it is committed. */
  readonly asMember?: boolean | undefined
}

/**
 * `isNew` is false if the idempotency key already belonged to the message `seq`; `ms` is then 0.
 */
export type Committed = { readonly seq: number; readonly ms: number; readonly isNew: boolean }

export type AppenderParts = {
  readonly blockWriter: BlockWriter
  readonly committer: Committer
  readonly sealer: Sealer
  readonly publishOrder: PublishOrder
  readonly steps: Steps
}

export type AppenderOptions = {
  readonly blockLength: number
  readonly groupLengthMax: number
  /**
   * Step 5. Called in sequence order for the messages that this process has written to a room, and
   * with the generation that they belong to.
   */
  readonly publish: (room: string, messages: readonly Message[], generation: number) => void
}

type Pending = NewMessage & {
  readonly deadline: number
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: unknown) => void
  /** Which of the user's messages it is, over all rooms. */
  n: number
  /** The room's generation when its block was chosen. */
  generation: number
  tag: string
  id: string
  ms: number
  /** Resolves when a replica has acknowledged step 2. */
  stored: Promise<void>
  /** The place that step 1 or 2 has while it waits for its shard. */
  share: Share | undefined
}

export class Appender {
  readonly #blockWriter: BlockWriter
  readonly #committer: Committer
  readonly #sealer: Sealer
  readonly #publishOrder: PublishOrder
  readonly #steps: Steps
  readonly #options: AppenderOptions
  readonly #numbers: Numbers
  readonly #numbering: Lanes<Pending>
  readonly #appending: Lanes<Pending>
  readonly #committing: Lanes<Pending>

  constructor(cluster: Cluster, parts: AppenderParts, options: AppenderOptions) {
    this.#blockWriter = parts.blockWriter
    this.#committer = parts.committer
    this.#sealer = parts.sealer
    this.#publishOrder = parts.publishOrder
    this.#steps = parts.steps
    this.#options = options
    this.#numbers = new Numbers(cluster, options.blockLength)
    const lanes = (run: (key: string, group: Pending[]) => Promise<void>): Lanes<Pending> =>
      new Lanes(options.groupLengthMax, run, rejectAll)
    this.#numbering = lanes((user, group) => this.#number(user, group))
    this.#appending = lanes((_key, group) => this.#append(group))
    this.#committing = lanes((room, group) => this.#commit(room, group))
  }

  /**
   * Writes one message, steps 1 to 5.
   * @param deadline on the clock of performance.now()
   * @throws DialogsError with a 503 code when the store did not finish before the deadline. The
   * message may be stored nevertheless; only an Idempotency-Key makes it safe to repeat it.
   * OVERLOADED if a shard that it needs has too much of the queue.
   * NotMembers, which is FORBIDDEN, if `asMember` and the user is none any more
   */
  append({ room, user, text, once, asMember }: NewMessage, deadline: number): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        room,
        user,
        text,
        once,
        asMember,
        deadline,
        resolve,
        reject,
        n: 0,
        generation: 0,
        tag: '',
        id: '',
        ms: 0,
        stored: NOT_YET,
        share: undefined
      }
      const n = this.#numbers.take(user)
      if (n !== undefined) this.#place(pending, n)
      else if (this.#enter(pending, userSlot(user))) this.#numbering.add(user, pending)
    })
  }

  /**
   * Resolves when what follows from messages already answered (publishing, counting) is done or was
   * given up.
   */
  async settled(): Promise<void> {
    await Promise.all([this.#publishOrder.settled(), this.#committer.settled()])
  }

  async #number(user: string, group: readonly Pending[]): Promise<void> {
    const numbers = await this.#numbers.give(user, group.length, earliest(group)).finally(() => {
      this.#leave(group)
    })
    // `give` returns as many numbers as were asked for.
    for (const [index, pending] of group.entries()) this.#place(pending, numbers[index] as number)
  }

  #place(pending: Pending, n: number): void {
    pending.n = n
    pending.generation = this.#committer.generationOf(pending.room)
    pending.tag = blockTag(pending.user, n, this.#options.blockLength, pending.generation)
    const key = blockKey(pending.room, pending.tag)
    if (this.#enter(pending, slotOf(key))) this.#appending.add(key, pending)
  }

  // Nothing was written by then, except by a message whose room was deleted meanwhile.
  #enter(pending: Pending, slot: number): boolean {
    try {
      pending.share = this.#steps.enter(slot)
      return true
    } catch (error) {
      pending.reject(error)
      return false
    }
  }

  #leave(group: readonly Pending[]): void {
    for (const { share } of group) if (share !== undefined) this.#steps.leave(share)
  }

  async #append(group: readonly Pending[]): Promise<void> {
    const [only] = group
    const { reply, replicated } = await this.#blockWriter
      .append(
        only?.room ?? '',
        only?.tag ?? '',
        group.map(({ text }) => text),
        earliest(group)
      )
      .finally(() => {
        this.#leave(group)
      })
    const first = String(reply)
    const ms = Number.parseInt(first, 10)
    for (const [index, pending] of group.entries()) {
      pending.id = entryIdAfter(first, index)
      pending.ms = ms
      pending.stored = replicated
      this.#committing.add(pending.room, pending)
    }
  }

  // Messages with an idempotency key are committed one by one. Their script needs all of its keys,
  // so it waits while the room's slot is half-moved. The other messages do not wait with them.
  #commit(room: string, group: readonly Pending[]): Promise<void> {
    const keyed = group.filter(({ once }) => once !== undefined)
    return keyed.length === 0
      ? this.#commitGroup(room, group)
      : this.#commitMixed(room, group, keyed)
  }

  async #commitMixed(
    room: string,
    group: readonly Pending[],
    keyed: readonly Pending[]
  ): Promise<void> {
    const plain = group.filter(({ once }) => once === undefined)
    await Promise.all([
      plain.length === 0
        ? undefined
        : this.#commitGroup(room, plain).catch(error => {
            rejectAll(plain, error)
          }),
      ...keyed.map(async pending => {
        await this.#commitOnce(pending).catch(error => {
          pending.reject(error)
        })
      })
    ])
  }

  async #commitGroup(room: string, all: readonly Pending[]): Promise<void> {
    const generation = all[0]?.generation ?? 0
    const isMixed = all.some(pending => pending.generation !== generation)
    const group = isMixed ? all.filter(pending => pending.generation === generation) : all
    if (isMixed) {
      for (const pending of all) {
        if (pending.generation !== generation) this.#committing.add(room, pending)
      }
    }
    await this.#unlessOutdated(group, async () => {
      const references = group.map(({ tag, id }) => formatReference(tag, id))
      return await this.#committer.commit(
        room,
        { references, counts: countByUser(group), membersOnly: membersOnlyIn(group), generation },
        earliest(group)
      )
    })
  }

  async #commitOnce(pending: Pending): Promise<void> {
    const { room, user, asMember, once = '', tag, id, generation, deadline } = pending
    const reference = formatReference(tag, id)
    await this.#unlessOutdated([pending], () =>
      this.#committer.commitOnce(room, { reference, user, asMember, once, generation }, deadline)
    )
  }

  // If the room was deleted after the blocks were chosen, the texts are taken out again and
  // appended to blocks of the new generation.
  async #unlessOutdated(group: readonly Pending[], commit: () => Promise<Commit>): Promise<void> {
    try {
      this.#committed(group, await commit())
    } catch (error) {
      if (error instanceof NotMembers) return this.#withoutStrangers(group, error)
      if (!(error instanceof OtherGeneration)) throw error
      for (const pending of group) {
        this.#blockWriter.withdrawOutdated(pending.room, pending.tag, pending.id)
        if (performance.now() > pending.deadline) pending.reject(error)
        else this.#place(pending, pending.n)
      }
    }
  }

  // Nothing of the group was committed. The messages of the others are committed without theirs.
  #withoutStrangers(group: readonly Pending[], refusal: NotMembers): void {
    for (const pending of group) {
      const { room, user, tag, id } = pending
      if (refusal.users.has(user)) {
        // An attempt that got no answer may still arrive, and would then refer to nothing.
        if (!refusal.mayBeDone) this.#blockWriter.withdraw(room, tag, id)
        pending.reject(refusal)
      } else this.#committing.add(room, pending)
    }
  }

  // Nobody waits here for the acknowledgement, so the room's next group is committed meanwhile.
  #committed(group: readonly Pending[], { first, durable }: Commit): void {
    const room = group[0]?.room ?? ''
    const done = this.#whenDurable(group, first, durable)
    done.catch(error => {
      if (error instanceof NotMembers) return this.#withoutStrangers(group, error)
      if (error instanceof OtherGeneration) {
        for (const { tag, id } of group) this.#blockWriter.withdrawOutdated(room, tag, id)
      }
      rejectAll(group, error)
    })
    this.#publishOrder.add(room, done, first => {
      this.#options.publish(
        room,
        group.map(({ user, text, ms }, index) => ({ room, seq: first + index, user, text, ms })),
        group[0]?.generation ?? 0
      )
    })
    this.#sealer.committed(room, first, first + group.length - 1)
  }

  // Step 4: waits until replicas have the log and the blocks. The log's acknowledgement covers the
  // whole group; each block has its own. Returns the first sequence, or undefined if the
  // idempotency key belongs to another message; then this one was never committed, and nobody can
  // miss it.
  async #whenDurable(
    group: readonly Pending[],
    known: number,
    durable: Promise<number | undefined>
  ): Promise<number | undefined> {
    const first = await durable
    if (first === undefined) {
      for (const { tag, id, room } of group) this.#blockWriter.withdraw(room, tag, id)
      for (const { resolve } of group) resolve({ seq: known, ms: 0, isNew: false })
      return undefined
    }
    let acknowledged: Promise<void> | undefined
    const unsafe: Pending[] = []
    let failure: unknown
    for (const pending of group) {
      if (pending.stored === acknowledged) continue
      try {
        await pending.stored
        acknowledged = pending.stored
      } catch (error) {
        unsafe.push(pending)
        failure = error
      }
    }
    if (unsafe.length > 0) await this.#blockWriter.putBack(unsafe, failure)
    for (const [index, { ms, resolve }] of group.entries()) {
      resolve({ seq: first + index, ms, isNew: true })
    }
    return first
  }
}

const NOT_YET = Promise.resolve()

// If a step fails, every message of its group gets the error as its answer.
function rejectAll(group: readonly Pending[], error: unknown): void {
  for (const { reject } of group) reject(error)
}

const earliest = (group: readonly Pending[]): number =>
  group.reduce((least, { deadline }) => Math.min(least, deadline), Infinity)

const NOBODY: ReadonlySet<string> = new Set()

/** The users who write in this group only as members. */
function membersOnlyIn(group: readonly Pending[]): ReadonlySet<string> {
  if (!group.some(({ asMember }) => asMember === true)) return NOBODY
  const users = new Set(group.map(({ user }) => user))
  for (const { user, asMember } of group) if (asMember !== true) users.delete(user)
  return users
}

function countByUser(group: readonly Pending[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { user } of group) counts.set(user, (counts.get(user) ?? 0) + 1)
  return counts
}
