// Where messages are written. The order of the steps is the crash safety:
//
// 1 number   INCRBY user:{u}:count       crash after it: numbers nobody uses, which harms nobody 2
// append   XADD <room>.{<u>.<block>}   crash after it: an orphan in a block; no reader sees it,
// `npm run check` lists it 3 commit   XADD room:{r}:log 0-*       the message exists from here on;
// crash after it: readers find it by repair or audit 4 acknowledge   WAIT on the masters of 2 and
// 3, so that a failover cannot take back what was answered 5 publish, and answer 201
//
// There is no state in which a reader sees what is not stored, and none in which a sequence is
// missing. Each step takes what arrived while its last group was on its way (lanes by user, by
// block, by room); nothing waits on a timer. Ambiguous outcomes: 1 and 2 are simply done again; 3
// looks for itself first (committer.ts).
import { setTimeout as sleep } from 'node:timers/promises'
import { throwUnlessLost, untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { blockKey, copyKey } from './keys.js'
import { type Written } from '../redis/node-pipeline.js'
import { slotOf } from '../redis/slots.js'
import { APPEND, ENSURE, ENSURE_BY_COPY, NEEDS_COPY } from './scripts.js'
import { Committer, type Commit } from './committer.js'
import { Lanes } from './lanes.js'
import { type Log } from './log.js'
import { blockTag, entryIdAfter, formatReference, type Message } from '../message/message.js'
import { Numbers } from './numbers.js'
import { type Users } from './users.js'

export type NewMessage = {
  readonly room: string
  readonly user: string
  readonly text: string
  readonly once: string | undefined
}

/** What became of a message: `isNew` is false when its idempotency key had led to `seq` before. */
export type Committed = { readonly seq: number; readonly ms: number; readonly isNew: boolean }

export type AppenderOptions = {
  readonly blockLength: number
  readonly groupLengthMax: number
  readonly idempotencyTtlS: number
  /** Step 5. Called in the order of the sequences of a room, as far as this process wrote them. */
  readonly publish: (room: string, messages: readonly Message[]) => void
  readonly onFault: (
    what: 'count' | 'seal' | 'split' | 'withdraw' | 'put-back',
    error: unknown
  ) => void
}

/**
 * How long a text that may be lost is put back after its POST was answered with an error, and how
 * many texts at once.
 */
const PUT_BACK_MS = 60_000
const PUT_BACK_PAUSE_MS = 1_000
const PUT_BACK_MAX = 1_000

type Pending = NewMessage & {
  readonly deadline: number
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: unknown) => void
  tag: string
  id: string
  ms: number
  /** The acknowledgement of step 2. */
  stored: Promise<void>
}

export class Appender {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #options: AppenderOptions
  readonly #numbers: Numbers
  readonly #numbering: Lanes<Pending>
  readonly #appending: Lanes<Pending>
  readonly #committing: Lanes<Pending>
  readonly #committer: Committer
  readonly #publishing = new Map<string, Promise<void>>()
  #puttingBack = 0

  constructor(cluster: Cluster, log: Log, users: Users, options: AppenderOptions) {
    this.#cluster = cluster
    this.#log = log
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
   * @throws DialogsError a 503 code when the store did not take it before the deadline: then it may
   * have been stored all the same, and only its Idempotency-Key makes a repetition safe
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
   * Resolves when everything that follows from answered messages (counting, publishing) is done or
   * was given up.
   */
  async settled(): Promise<void> {
    await Promise.all([...this.#publishing.values(), this.#committer.settled()])
  }

  /**
   * Makes sure that a stored message is on its block's master and a replica; puts it back where a
   * failover took it.
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
    await untilAcknowledged(async () => {
      const ensured = await write([ENSURE.sha, '1', key])
      return ensured.reply === NEEDS_COPY
        ? await write([ENSURE_BY_COPY.sha, '2', key, copyKey(key)])
        : ensured
    }, deadline)
  }

  async #number(user: string, group: readonly Pending[]): Promise<void> {
    const numbers = await this.#numbers.give(user, group.length, earliest(group))
    // As many numbers as messages.
    for (const [index, pending] of group.entries()) this.#place(pending, numbers[index] as number)
  }

  #place(pending: Pending, n: number): void {
    pending.tag = blockTag(pending.user, n, this.#options.blockLength)
    this.#appending.add(blockKey(pending.room, pending.tag), pending)
  }

  async #append(key: string, group: readonly Pending[]): Promise<void> {
    const [only] = group
    const args =
      group.length === 1 && only !== undefined
        ? ['XADD', key, '*', 't', only.text]
        : ['EVALSHA', APPEND.sha, '1', key, ...group.map(({ text }) => text)]
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

  // Messages with a key go one by one: their script has two keys, and may have to wait out a moving
  // slot, which others need not.
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
        await this.#commitOnce(room, pending).catch(error => {
          pending.reject(error)
        })
      })
    ])
  }

  async #commitGroup(room: string, group: readonly Pending[]): Promise<void> {
    const references = group.map(({ tag, id }) => formatReference(tag, id))
    this.#committed(
      room,
      group,
      await this.#committer.commit(room, references, countByUser(group), earliest(group))
    )
  }

  async #commitOnce(room: string, pending: Pending): Promise<void> {
    const { user, once = '', tag, id, deadline } = pending
    this.#committed(
      room,
      [pending],
      await this.#committer.commitOnce(room, formatReference(tag, id), user, once, deadline)
    )
  }

  // The acknowledgement goes on while the room's next group is committed.
  #committed(room: string, group: readonly Pending[], { first, lasting }: Commit): void {
    const done = this.#whenDurable(group, first, lasting)
    done.catch(error => {
      rejectAll(group, error)
    })
    this.#publishInOrder(room, done, group)
    const last = first + group.length - 1
    const { segmentLength } = this.#log
    if (Math.floor(last / segmentLength) > Math.floor((first - 1) / segmentLength)) {
      this.#log.seal(room).catch(error => {
        this.#options.onFault('seal', error)
      })
    }
  }

  // Step 4. The log's acknowledgement is the same for the whole group, the blocks' are not. Answers
  // the first sequence, or undefined when the idempotency key had led to another message.
  async #whenDurable(
    group: readonly Pending[],
    known: number,
    lasting: Promise<number | undefined>
  ): Promise<number | undefined> {
    const first = await lasting
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

  // The log refers to these messages already, so a text that a failover took would be missing for
  // every reader: it is put back, and if that takes longer than the answer may, it goes on behind
  // it.
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

  // Its key was taken by another message: it was never committed, so nobody can miss it.
  #withdraw({ room, tag, id }: Pending): void {
    const key = blockKey(room, tag)
    this.#cluster.command(slotOf(key), ['XDEL', key, id]).catch(error => {
      this.#options.onFault('withdraw', error)
    })
  }

  // Groups become durable in any order; published in order they spare every subscriber a look for
  // the gap.
  #publishInOrder(
    room: string,
    done: Promise<number | undefined>,
    group: readonly Pending[]
  ): void {
    const previous = this.#publishing.get(room)
    const inTurn = previous === undefined ? done : previous.then(() => done)
    const published = inTurn.then(
      first => {
        if (first !== undefined) {
          this.#options.publish(
            room,
            group.map(({ user, text, ms }, index) => ({ room, seq: first + index, user, text, ms }))
          )
        }
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

const NOT_YET = Promise.resolve()

// Whatever a step throws is the answer of every message in its group.
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
