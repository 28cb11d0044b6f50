// Where messages are written. The order of the steps is the crash safety:
//
//   1 number   INCRBY user:{u}:count       crash after it: numbers nobody uses, which harms nobody
//   2 append   XADD <room>.{<u>.<block>}   crash after it: an orphan in a block; no reader sees it, `npm run check` lists it
//   3 commit   XADD room:{r}:log 0-*       the message exists from here on; crash after it: readers find it by repair or audit
//   4 acknowledge   WAIT on the masters of 2 and 3, so that a failover cannot take back what was answered
//   5 publish, and answer 201
//
// There is no state in which a reader sees what is not stored, and none in which a sequence is missing.
// Each step takes what arrived while its last group was on its way (lanes by user, by block, by room); nothing waits on a timer.
// Ambiguous outcomes: 1 and 2 are simply done again; 3 looks for itself first (see COMMIT in scripts.ts).
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { ConnectionLost } from '../redis/connection.js'
import { blockKey, logKey, onceKey, roomSlot, slotOf, usersKey } from '../redis/keys.js'
import { APPEND, COMMIT, COMMIT_ONCE, COUNT, ENSURE } from '../redis/scripts.js'
import { Lanes } from './lanes.js'
import { type Log } from './log.js'
import { blockTag, entryIdAfter, formatReference, type Message } from './message.js'
import { Numbers } from './numbers.js'

export type NewMessage = { readonly room: string, readonly user: string, readonly text: string, readonly once: string | undefined }

/** What became of a message: `isNew` is false when its idempotency key had led to `seq` before. */
export type Committed = { readonly seq: number, readonly ms: number, readonly isNew: boolean }

export type AppenderOptions = {
  readonly blockLength: number
  readonly groupLengthMax: number
  readonly queueLengthMax: number
  readonly queueBytesMax: number
  readonly onceTtlS: number
  readonly deadlineMs: number
  /** Step 5. Called in the order of the sequences of a room, as far as this process wrote them. */
  readonly publish: (room: string, messages: readonly Message[]) => void
  readonly onFault: (what: 'count' | 'seal', error: unknown) => void
}

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

const HEADS_REMEMBERED = 10_000
/** What a message costs while it waits, beside its text: measured on the heap, rounded up. */
const PENDING_BYTES = 1024

export class Appender {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #options: AppenderOptions
  readonly #numbers: Numbers
  readonly #numbering: Lanes<Pending>
  readonly #appending: Lanes<Pending>
  readonly #committing: Lanes<Pending>
  readonly #counting: Lanes<readonly [user: string, count: number]>
  /** Per room: the last sequence known, and by whose word. Bounds the search of COMMIT. */
  readonly #heads = new Map<string, { readonly seq: number, readonly owner: string | undefined }>()
  readonly #publishing = new Map<string, Promise<void>>()
  #queueLength = 0
  #queueBytes = 0

  constructor (cluster: Cluster, log: Log, options: AppenderOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#options = options
    this.#numbers = new Numbers(cluster)
    const lanes = <T>(run: (key: string, group: T[]) => Promise<void>): Lanes<T> => new Lanes(options.groupLengthMax, run)
    this.#numbering = lanes((user, group) => settling(group, () => this.#number(user, group)))
    this.#appending = lanes((key, group) => settling(group, () => this.#append(key, group)))
    this.#committing = lanes((room, group) => settling(group, () => this.#commit(room, group)))
    this.#counting = lanes((room, group) => this.#count(room, group))
  }

  /** Messages that were taken and not answered yet. */
  get queueLength (): number {
    return this.#queueLength
  }

  /**
   * Writes one message, steps 1 to 5.
   * @throws DialogsError OVERLOADED at once when too much waits; a 503 code when the store did not take it before the deadline: then
   *   it may have been stored all the same, and only its Idempotency-Key makes a repetition safe
   */
  async append (message: NewMessage): Promise<Committed> {
    const bytes = 2 * message.text.length + PENDING_BYTES
    if (this.#queueLength >= this.#options.queueLengthMax || this.#queueBytes + bytes > this.#options.queueBytesMax) {
      throw new DialogsError('OVERLOADED', 'Too many messages wait for the store: try again in a second.')
    }
    this.#queueLength++
    this.#queueBytes += bytes
    try {
      return await new Promise((resolve, reject) => {
        const { room, user, text, once } = message
        const deadline = performance.now() + this.#options.deadlineMs
        const pending: Pending = { room, user, text, once, deadline, resolve, reject, tag: '', id: '', ms: 0, stored: NOT_YET }
        const n = this.#numbers.take(user)
        if (n === undefined) this.#numbering.add(user, pending)
        else this.#place(pending, n)
      })
    } finally {
      this.#queueLength--
      this.#queueBytes -= bytes
    }
  }

  /** Resolves when everything that follows from answered messages (counting, publishing) is done or was given up. */
  async settled (): Promise<void> {
    await Promise.all([...this.#publishing.values(), this.#counting.settled()])
  }

  /** Makes sure that a stored message is on its block's master and a replica; puts it back where a failover took it. */
  async ensure (room: string, tag: string, id: string, text: string, deadline: number): Promise<boolean> {
    const key = blockKey(room, tag)
    for (;;) {
      const { reply, replicated } = await this.#cluster.write(slotOf(key), ['EVALSHA', ENSURE.sha, '1', key, id, text], deadline)
      try {
        await replicated
        return reply === 1
      } catch (error) {
        throwUnlessLost(error, deadline)
      }
    }
  }

  async #number (user: string, group: readonly Pending[]): Promise<void> {
    const numbers = await this.#numbers.give(user, group.length, earliest(group))
    // As many numbers as messages.
    for (const [index, pending] of group.entries()) this.#place(pending, numbers[index] as number)
  }

  #place (pending: Pending, n: number): void {
    pending.tag = blockTag(pending.user, n, this.#options.blockLength)
    this.#appending.add(blockKey(pending.room, pending.tag), pending)
  }

  async #append (key: string, group: readonly Pending[]): Promise<void> {
    const [only] = group
    const args = group.length === 1 && only !== undefined
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

  // Messages with a key go one by one: their script has two keys, and may have to wait out a moving slot, which others need not.
  async #commit (room: string, group: readonly Pending[]): Promise<void> {
    const plain = group.filter(({ once }) => once === undefined)
    const keyed = group.filter(({ once }) => once !== undefined)
    await Promise.all([
      plain.length === 0 ? undefined : settling(plain, () => this.#commitGroup(room, plain)),
      ...keyed.map(pending => settling([pending], () => this.#commitOnce(room, pending)))
    ])
  }

  async #commitGroup (room: string, group: readonly Pending[]): Promise<void> {
    const counts = countByUser(group)
    const rest = [String(this.#knownHead(room)), String(counts.size)]
    for (const [user, count] of counts) rest.push(user, String(count))
    for (const { tag, id } of group) rest.push(formatReference(tag, id))
    // Log and counters in one step. While the room's slot moves they may be on different nodes: then the log goes first, by itself.
    const args = ['EVALSHA', COMMIT.sha, '2', logKey(room), usersKey(room), ...rest]
    const logOnly = ['EVALSHA', COMMIT.sha, '1', logKey(room), ...rest]
    const deadline = earliest(group)
    const { reply, replicated } = await this.#cluster.write(roomSlot(room), args, deadline, logOnly)
    // COMMIT answers three integers.
    const [first, length, isCounted] = reply as readonly [number, number, number]
    if (isCounted === 0) for (const entry of counts) this.#counting.add(room, entry)
    this.#committed(room, group, first, length, this.#untilReplicated(replicated, roomSlot(room), logOnly, deadline))
  }

  async #commitOnce (room: string, pending: Pending): Promise<void> {
    const { once = '', tag, id, deadline } = pending
    const reference = formatReference(tag, id)
    const args = ['EVALSHA', COMMIT_ONCE.sha, '3', logKey(room), onceKey(room, once), usersKey(room), reference, String(this.#options.onceTtlS), pending.user]
    const { reply, replicated } = await this.#cluster.write(roomSlot(room), args, deadline)
    // COMMIT_ONCE answers three integers.
    const [seq, isNewHere, length] = reply as readonly [number, number, number]
    // After a lost connection the script may have found what its own first run had committed.
    const isNew = isNewHere === 1 || (await this.#log.range(room, seq, seq))[0]?.reference === reference
    const durable = this.#untilReplicated(replicated, roomSlot(room), args, deadline)
    if (isNew) return this.#committed(room, [pending], seq, length, durable)
    // The key was taken by another message: ours was never committed, so nobody can miss it.
    const key = blockKey(room, tag)
    this.#cluster.command(slotOf(key), ['XDEL', key, id]).catch(error => { this.#options.onFault('count', error) })
    await durable
    pending.resolve({ seq, ms: 0, isNew: false })
  }

  #committed (room: string, group: readonly Pending[], first: number, logLength: number, durable: Promise<void>): void {
    const last = first + group.length - 1
    this.#rememberHead(room, last)
    const done = this.#whenDurable(group, durable).then(() => {
      for (const [index, { ms, resolve }] of group.entries()) resolve({ seq: first + index, ms, isNew: true })
    })
    done.catch(error => { for (const { reject } of group) reject(error) })
    this.#publishInOrder(room, done, group, first)
    const { segmentLength } = this.#log
    if (logLength > 2 * segmentLength && Math.floor(last / segmentLength) > Math.floor((first - 1) / segmentLength)) {
      this.#log.seal(room).catch(error => { this.#options.onFault('seal', error) })
    }
  }

  // Step 4. The log's acknowledgement is the same for the whole group, the blocks' are not.
  async #whenDurable (group: readonly Pending[], committed: Promise<void>): Promise<void> {
    await committed
    for (const { room, tag, id, text, stored, deadline } of group) {
      try {
        await stored
      } catch (error) {
        throwUnlessLost(error, deadline)
        if (!await this.ensure(room, tag, id, text, deadline)) {
          throw new DialogsError('NOT_REPLICATED', 'A failover took the message before a replica had it: send it again.', { cause: error })
        }
      }
    }
  }

  // The connection may break between the commit and its acknowledgement. Then the same script is run again: it finds itself.
  async #untilReplicated (replicated: Promise<void>, slot: number, args: string[], deadline: number): Promise<void> {
    for (;;) {
      try {
        await replicated
        return
      } catch (error) {
        throwUnlessLost(error, deadline)
        replicated = (await this.#cluster.write(slot, args, deadline)).replicated
      }
    }
  }

  // Groups become durable in any order; published in order they spare every subscriber a look for the gap.
  #publishInOrder (room: string, done: Promise<void>, group: readonly Pending[], first: number): void {
    const previous = this.#publishing.get(room) ?? Promise.resolve()
    const published = Promise.allSettled([previous, done]).then(([, outcome]) => {
      if (outcome.status === 'fulfilled') {
        this.#options.publish(room, group.map(({ user, text, ms }, index) => ({ room, seq: first + index, user, text, ms })))
      }
      if (this.#publishing.get(room) === published) this.#publishing.delete(room)
    })
    this.#publishing.set(room, published)
  }

  // What COMMIT could not count itself. Not waited for: the counters are mended by `npm run check`, a message never is.
  async #count (room: string, group: ReadonlyArray<readonly [user: string, count: number]>): Promise<void> {
    const counts = new Map<string, number>()
    for (const [user, count] of group) counts.set(user, (counts.get(user) ?? 0) + count)
    const args = [...counts].flatMap(([user, count]) => [user, String(count)])
    try {
      await this.#cluster.command(roomSlot(room), ['EVALSHA', COUNT.sha, '1', usersKey(room), ...args])
    } catch (error) {
      this.#options.onFault('count', error)
    }
  }

  // Another owner than the one that said so may have lost the end of the log in a failover, and given sequences out again.
  #knownHead (room: string): number {
    const head = this.#heads.get(room)
    return head !== undefined && head.owner === this.#cluster.topology.ownerOf(roomSlot(room)) ? head.seq : 0
  }

  #rememberHead (room: string, seq: number): void {
    if (this.#heads.size >= HEADS_REMEMBERED) this.#heads.clear()
    this.#heads.set(room, { seq, owner: this.#cluster.topology.ownerOf(roomSlot(room)) })
  }
}

const NOT_YET = Promise.resolve()

// Whatever a step throws is the answer of every message in its group.
async function settling (group: ReadonlyArray<{ readonly reject: (error: unknown) => void }>, step: () => Promise<void>): Promise<void> {
  try {
    await step()
  } catch (error) {
    for (const { reject } of group) reject(error)
  }
}

// A write whose acknowledgement was lost with its connection can be made sure of by writing again; everything else is an answer.
function throwUnlessLost (error: unknown, deadline: number): void {
  if (!(error instanceof ConnectionLost)) throw error
  if (performance.now() >= deadline) throw new DialogsError('STORE_UNAVAILABLE', 'The store does not acknowledge: try again with the same Idempotency-Key.', { cause: error })
}

const earliest = (group: readonly Pending[]): number => group.reduce((least, { deadline }) => Math.min(least, deadline), Infinity)

function countByUser (group: readonly Pending[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { user } of group) counts.set(user, (counts.get(user) ?? 0) + 1)
  return counts
}
