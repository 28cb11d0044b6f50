// Writes messages, in five steps. The order of the steps makes a crash harmless:
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
// So a reader never sees a message that is not stored, and no sequence is ever missing. Step 4
// makes sure that a failover cannot take back what was answered. Requests go in groups: whatever
// arrives for a user, a block or a room while its last group is in flight is the next group
// (lanes.ts). Nothing waits on a timer. If the outcome of a step is unknown, steps 1 and 2 are
// simply repeated; step 3 first looks whether it has already happened (committer.ts).
import { setTimeout as sleep } from 'node:timers/promises'
import { throwUnlessLost, untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { blockKey, changedKey, copyKey, parseTag } from './keys.js'
import { type Written } from '../redis/node-pipeline.js'
import { slotOf } from '../redis/slots.js'
import { APPEND, APPEND_EXPIRING, ENSURE, ENSURE_BY_COPY, REMOVE_ENTRIES } from './block-scripts.js'
import { NEEDS_COPY } from './scripts.js'
import { Committer, type Commit, OtherGeneration } from './committer.js'
import { Lanes } from './lanes.js'
import { type Log } from './log.js'
import {
  blockTag,
  entryIdAfter,
  formatReference,
  parseReference,
  type Message
} from '../message/message.js'
import { Numbers } from './numbers.js'
import { type Retention } from './retention.js'
import { type Sealer } from './sealer.js'
import { type Users } from './users.js'

export type NewMessage = {
  readonly room: string
  readonly user: string
  readonly text: string
  readonly once: string | undefined
}

/** `isNew` is false when the idempotency key already belonged to the message `seq`. */
export type Committed = { readonly seq: number; readonly ms: number; readonly isNew: boolean }

export type AppenderOptions = {
  readonly blockLength: number
  readonly groupLengthMax: number
  readonly idempotencyTtlS: number
  readonly retention: Retention
  /** Step 5. Called in sequence order for the messages that this process has written to a room. */
  readonly publish: (room: string, messages: readonly Message[]) => void
  readonly onFault: (
    what: 'count' | 'seal' | 'split' | 'withdraw' | 'put-back' | 'list' | 'news' | 'clean',
    error: unknown
  ) => void
}

/**
 * If a POST ends with an error, its text may be lost although the log refers to it. Then the
 * process goes on trying to put the text back for this long, for at most this many texts at once.
 */
const PUT_BACK_MS = 60_000
const PUT_BACK_PAUSE_MS = 1_000
const PUT_BACK_MAX = 1_000

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
}

export class Appender {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #sealer: Sealer
  readonly #options: AppenderOptions
  readonly #numbers: Numbers
  readonly #numbering: Lanes<Pending>
  readonly #appending: Lanes<Pending>
  readonly #committing: Lanes<Pending>
  readonly #committer: Committer
  readonly #publishing = new Map<string, Promise<void>>()
  #puttingBack = 0

  constructor(
    cluster: Cluster,
    { log, sealer, users }: { readonly log: Log; readonly sealer: Sealer; readonly users: Users },
    options: AppenderOptions
  ) {
    this.#cluster = cluster
    this.#log = log
    this.#sealer = sealer
    this.#options = options
    this.#numbers = new Numbers(cluster)
    const lanes = (run: (key: string, group: Pending[]) => Promise<void>): Lanes<Pending> =>
      new Lanes(options.groupLengthMax, run, rejectAll)
    this.#numbering = lanes((user, group) => this.#number(user, group))
    this.#appending = lanes((key, group) => this.#append(key, group))
    this.#committing = lanes((room, group) => this.#commit(room, group))
    this.#committer = new Committer(cluster, log, users, options)
  }

  /**
   * Writes one message, steps 1 to 5.
   * @param deadline on the clock of performance.now()
   * @throws DialogsError with a 503 code when the store did not finish before the deadline. The
   * message may be stored nevertheless; only an Idempotency-Key makes it safe to repeat it
   */
  append({ room, user, text, once }: NewMessage, deadline: number): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        room,
        user,
        text,
        once,
        deadline,
        resolve,
        reject,
        n: 0,
        generation: 0,
        tag: '',
        id: '',
        ms: 0,
        stored: NOT_YET
      }
      const n = this.#numbers.take(user)
      if (n === undefined) this.#numbering.add(user, pending)
      else this.#place(pending, n)
    })
  }

  /**
   * Commits a change that was applied to a block, and has it published in its turn. It is no
   * message of anybody's and is not counted.
   * @param read what the order tells by it; asked once a replica has its sequence
   * @returns what was read; undefined if the idempotency key belongs to something else
   * @throws OtherGeneration if the message is gone with its room; otherwise DialogsError as
   * Cluster.write, or what `read` throws; it may have been committed nevertheless
   */
  async commitChange<Told>(
    room: string,
    reference: string,
    once: string | undefined,
    deadline: number,
    { read, publish }: { read: (seq: number) => Promise<Told>; publish: (told: Told) => void }
  ): Promise<Told | undefined> {
    const { generation } = parseReference(reference)
    const { first, durable } =
      once === undefined
        ? await this.#committer.commit(room, [reference], NOBODY, generation, deadline)
        : await this.#committer.commitOnce(room, reference, '', once, generation, deadline)
    const told = durable.then(seq => (seq === undefined ? undefined : read(seq)))
    this.#publishInOrder(room, told, publish)
    this.#sealer.committed(room, first, first)
    return await told
  }

  /**
   * Resolves when the work behind messages already answered (counting, publishing) is done or given
   * up.
   */
  async settled(): Promise<void> {
    await Promise.all([...this.#publishing.values(), this.#committer.settled()])
  }

  /**
   * Makes sure that a committed message is on the master of its block and on a replica. Puts it
   * back if a failover has taken it, unless its room was deleted: looks before, and once more
   * afterwards, because whoever deletes a room cleans its blocks only once.
   */
  async ensure(
    room: string,
    tag: string,
    id: string,
    text: string,
    deadline: number
  ): Promise<void> {
    const key = blockKey(room, tag)
    const write = (args: string[]): Promise<Written> =>
      this.#cluster.write(slotOf(key), ['EVALSHA', ...args, id, text], deadline)
    if (await this.#isGone(room, tag)) return
    await untilAcknowledged(async () => {
      const ensured = await write([ENSURE.sha, '1', key])
      return ensured.reply === NEEDS_COPY
        ? await write([ENSURE_BY_COPY.sha, '3', key, copyKey(key), changedKey(key)])
        : ensured
    }, deadline)
    const expiryMs = this.#options.retention.expiryMs(room, Date.now())
    if (expiryMs !== undefined) {
      await this.#cluster.command(slotOf(key), ['PEXPIREAT', key, String(expiryMs)], deadline)
    }
    if (await this.#isGone(room, tag)) await this.#remove(room, tag, id)
  }

  async #isGone(room: string, tag: string): Promise<boolean> {
    return (await this.#log.deletion(room)).seq !== parseTag(tag)?.generation
  }

  async #remove(room: string, tag: string, id: string): Promise<void> {
    const key = blockKey(room, tag)
    await this.#cluster.command(slotOf(key), ['EVALSHA', REMOVE_ENTRIES.sha, '1', key, id])
  }

  async #number(user: string, group: readonly Pending[]): Promise<void> {
    const numbers = await this.#numbers.give(user, group.length, earliest(group))
    // `give` returns as many numbers as were asked for.
    for (const [index, pending] of group.entries()) this.#place(pending, numbers[index] as number)
  }

  #place(pending: Pending, n: number): void {
    pending.n = n
    pending.generation = this.#committer.generationOf(pending.room)
    pending.tag = blockTag(pending.user, n, this.#options.blockLength, pending.generation)
    this.#appending.add(blockKey(pending.room, pending.tag), pending)
  }

  async #append(key: string, group: readonly Pending[]): Promise<void> {
    const [only] = group
    const args = this.#appendArgs(
      key,
      only?.room ?? '',
      group.map(({ text }) => text)
    )
    const { reply, replicated } = await this.#cluster.write(slotOf(key), args, earliest(group))
    const first = String(reply)
    const ms = Number.parseInt(first, 10)
    for (const [index, pending] of group.entries()) {
      pending.id = entryIdAfter(first, index)
      pending.ms = ms
      pending.stored = replicated
      this.#committing.add(pending.room, pending)
    }
  }

  #appendArgs(key: string, room: string, texts: string[]): string[] {
    const { retention } = this.#options
    const expiryMs = retention.expiryMs(room, Date.now())
    if (expiryMs !== undefined) {
      const trimMs = String(retention.trimMs(room))
      return ['EVALSHA', APPEND_EXPIRING.sha, '1', key, String(expiryMs), trimMs, ...texts]
    }
    const [text = ''] = texts
    return texts.length === 1
      ? ['XADD', key, '*', 't', text]
      : ['EVALSHA', APPEND.sha, '1', key, ...texts]
  }

  // Messages with an idempotency key are committed one by one: their script has two keys, so it may
  // have to wait for a moving slot. The other messages need not wait with them.
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
        references,
        countByUser(group),
        generation,
        earliest(group)
      )
    })
  }

  async #commitOnce(pending: Pending): Promise<void> {
    const { room, user, once = '', tag, id, generation, deadline } = pending
    await this.#unlessOutdated([pending], () =>
      this.#committer.commitOnce(room, formatReference(tag, id), user, once, generation, deadline)
    )
  }

  // Texts in blocks of another generation are taken out and appended once more, to blocks of the
  // present one.
  async #unlessOutdated(group: readonly Pending[], commit: () => Promise<Commit>): Promise<void> {
    try {
      this.#committed(group, await commit())
    } catch (error) {
      if (!(error instanceof OtherGeneration)) throw error
      for (const pending of group) {
        if (performance.now() > pending.deadline) {
          pending.reject(error)
          continue
        }
        this.#remove(pending.room, pending.tag, pending.id).catch(this.#onWithdrawFault)
        this.#place(pending, pending.n)
      }
    }
  }

  // The room's next group is committed while this one waits for its acknowledgement.
  #committed(group: readonly Pending[], { first, durable }: Commit): void {
    const room = group[0]?.room ?? ''
    const done = this.#whenDurable(group, first, durable)
    done.catch(error => {
      rejectAll(group, error)
    })
    this.#publishInOrder(room, done, first => {
      this.#options.publish(
        room,
        group.map(({ user, text, ms }, index) => ({ room, seq: first + index, user, text, ms }))
      )
    })
    this.#sealer.committed(room, first, first + group.length - 1)
  }

  // Step 4. The log's acknowledgement covers the whole group, but each block has its own. Returns
  // the first sequence, or undefined if the idempotency key belongs to another message.
  async #whenDurable(
    group: readonly Pending[],
    known: number,
    durable: Promise<number | undefined>
  ): Promise<number | undefined> {
    const first = await durable
    if (first === undefined) {
      for (const pending of group) this.#withdraw(pending)
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
    if (unsafe.length > 0) await this.#makeSafe(unsafe, failure)
    for (const [index, { ms, resolve }] of group.entries()) {
      resolve({ seq: first + index, ms, isNew: true })
    }
    return first
  }

  // The log refers to these messages already, so readers would miss any text that a failover has
  // taken. Puts the texts back. If that takes longer than the answer may take, it continues in the
  // background.
  async #makeSafe(unsafe: readonly Pending[], failure: unknown): Promise<void> {
    try {
      for (const { deadline } of unsafe) throwUnlessLost(failure, deadline)
      await Promise.all(
        unsafe.map(({ room, tag, id, text, deadline }) =>
          this.ensure(room, tag, id, text, deadline)
        )
      )
    } catch (error) {
      for (const pending of unsafe) void this.#putBackLater(pending)
      throw error
    }
  }

  async #putBackLater({ room, tag, id, text }: Pending): Promise<void> {
    if (this.#puttingBack >= PUT_BACK_MAX) return
    this.#puttingBack++
    const until = performance.now() + PUT_BACK_MS
    for (;;) {
      try {
        await this.ensure(room, tag, id, text, until)
        break
      } catch (error) {
        if (performance.now() + PUT_BACK_PAUSE_MS > until) {
          this.#options.onFault('put-back', error)
          break
        }
        await sleep(PUT_BACK_PAUSE_MS, undefined, { ref: false })
      }
    }
    this.#puttingBack--
  }

  // Another message owns the idempotency key. This one was never committed, so nobody can miss it.
  #withdraw({ room, tag, id }: Pending): void {
    const key = blockKey(room, tag)
    this.#cluster.command(slotOf(key), ['XDEL', key, id]).catch(this.#onWithdrawFault)
  }

  readonly #onWithdrawFault = (error: unknown): void => {
    this.#options.onFault('withdraw', error)
  }

  // Groups may become durable in any order. Publishing them in sequence order saves every
  // subscriber from reading an apparent gap from the store.
  #publishInOrder<Done>(
    room: string,
    done: Promise<Done | undefined>,
    publish: (done: Done) => void
  ): void {
    const previous = this.#publishing.get(room)
    const inTurn = previous === undefined ? done : previous.then(() => done)
    const published = inTurn.then(
      value => {
        if (value !== undefined) publish(value)
        finish()
      },
      () => {
        finish()
      }
    )
    const finish = (): void => {
      if (this.#publishing.get(room) === published) this.#publishing.delete(room)
    }
    this.#publishing.set(room, published)
  }
}

const NOBODY: ReadonlyMap<string, number> = new Map()
const NOT_YET = Promise.resolve()

// If a step fails, every message of its group gets the error as its answer.
function rejectAll(group: readonly Pending[], error: unknown): void {
  for (const { reject } of group) reject(error)
}

const earliest = (group: readonly Pending[]): number =>
  group.reduce((least, { deadline }) => Math.min(least, deadline), Infinity)

function countByUser(group: readonly Pending[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { user } of group) counts.set(user, (counts.get(user) ?? 0) + 1)
  return counts
}
