// Work that asks the store, such as reading pages: a limited number of pieces at the same time.
// Invariant: nobody waits behind all others, and nobody for ever. The clients that wait take turns.
// Of one client's pages the shortest comes first, and every fourth time the oldest. Long pages take
// at most a quarter of the places, because each one keeps the connections to Redis and the event
// loop busy for milliseconds. So a short page waits for few long ones, and a client with one page
// does not wait for the hundred pages of another. While both kinds wait, both go on. Work that
// takes longer than a second probably waits for a silent shard. It gives its place to other work.
// How much may do so is limited, too. Of both, the places and those who gave theirs away, each
// shard has only a share (shares.ts), so that a silent one leaves room for the others at once.
import { mayTake, type ShardOf } from './shares.js'

/** A page with more bytes than this is long. */
export const LONG_BYTES = 128 * 1024
const LONG_SHARE = 4
const PATIENCE_MS = 1000
/** Short work that has given its place away, as a multiple of the places. For long work: once. */
const LATE_SHARE = 8
/** Of a client's pages the oldest comes first once in so many times. */
const OLDEST_EACH = 4

export type Work = {
  /** Whoever it is for: clients take turns. */
  readonly client: string
  /** How long a page is expected to be; 0 for everything else. */
  readonly bytes: number
  /** The slot that it needs above all. Without one, no share limits it. */
  readonly slot?: number
}

/** What waits for one shard, and what is at work there. */
type Shard = {
  readonly lines: { readonly short: Line; readonly long: Line }
  readonly running: { short: number; long: number }
  readonly late: { short: number; long: number }
}

type Kind = 'short' | 'long'
type Waiting = { readonly bytes: number; readonly start: () => void; readonly number: number }

export class FairTurns {
  readonly #shardOf: ShardOf
  readonly #patienceMs: number
  /** At the same time, without what is late. */
  readonly #max: Readonly<Record<Kind, number>>
  readonly #lateMax: Readonly<Record<Kind, number>>
  readonly #running = { short: 0, long: 0 }
  readonly #late = { short: 0, long: 0 }
  readonly #waiting = { short: 0, long: 0 }
  /** The shard whose turn is next comes first. One without work is forgotten. */
  readonly #shards = new Map<string | undefined, Shard>()
  #wasLong = false

  constructor(placesMax: number, shardOf: ShardOf, patienceMs = PATIENCE_MS) {
    this.#shardOf = shardOf
    this.#patienceMs = patienceMs
    const longMax = Math.max(1, Math.floor(placesMax / LONG_SHARE))
    this.#max = { short: placesMax, long: longMax }
    this.#lateMax = { short: LATE_SHARE * placesMax, long: longMax }
  }

  /** How much waits for its turn. */
  get waiting(): number {
    return this.#waiting.short + this.#waiting.long
  }

  /** Calls `work` when it is its turn, and returns what it returns. */
  async run<T>({ client, bytes, slot }: Work, work: () => Promise<T>): Promise<T> {
    const kind = bytes > LONG_BYTES ? 'long' : 'short'
    const name = slot === undefined ? undefined : this.#shardOf(slot)
    const shard = this.#shard(name)
    await new Promise<void>(resolve => {
      shard.lines[kind].add(client, bytes, resolve)
      this.#waiting[kind]++
      this.#startNext()
    })
    let isLate = false
    const timer = setInterval(() => {
      const free = this.#lateMax[kind] - this.#late[kind]
      if (free <= 0 || (name !== undefined && !mayTake(shard.late[kind], free))) return
      clearInterval(timer)
      isLate = true
      this.#late[kind]++
      shard.late[kind]++
      this.#running[kind]--
      shard.running[kind]--
      this.#startNext()
    }, this.#patienceMs)
    try {
      return await work()
    } finally {
      clearInterval(timer)
      const count = isLate ? 'late' : 'running'
      const all = isLate ? this.#late : this.#running
      all[kind]--
      shard[count][kind]--
      if (isIdle(shard)) this.#shards.delete(name)
      this.#startNext()
    }
  }

  #shard(name: string | undefined): Shard {
    let shard = this.#shards.get(name)
    if (shard === undefined) {
      shard = {
        lines: { short: new Line(), long: new Line() },
        running: { short: 0, long: 0 },
        late: { short: 0, long: 0 }
      }
      this.#shards.set(name, shard)
    }
    return shard
  }

  #startNext(): void {
    while (this.#free > 0) {
      const [first, second]: [Kind, Kind] = this.#longIsDue()
        ? ['long', 'short']
        : ['short', 'long']
      if (!this.#start(first) && !this.#start(second)) return
    }
  }

  get #free(): number {
    return this.#max.short - this.#running.short - this.#running.long
  }

  // Short pages first, but not for ever: one place is for long ones. If there is only one at all,
  // both kinds take turns.
  #longIsDue(): boolean {
    return this.#running.long === 0 && !this.#wasLong
  }

  /** Begins what is next of a kind. Returns whether there was any that may begin. */
  #start(kind: Kind): boolean {
    if (this.#waiting[kind] === 0) return false
    if (kind === 'long' && this.#running.long >= this.#max.long) return false
    for (const [name, shard] of this.#shards) {
      if (name !== undefined && !this.#hasShare(shard, kind)) continue
      const next = shard.lines[kind].take()
      if (next === undefined) continue
      this.#shards.delete(name)
      this.#shards.set(name, shard)
      this.#wasLong = kind === 'long'
      this.#waiting[kind]--
      this.#running[kind]++
      shard.running[kind]++
      next.start()
      return true
    }
    return false
  }

  #hasShare({ running }: Shard, kind: Kind): boolean {
    if (!mayTake(running.short + running.long, this.#free)) return false
    return kind === 'short' || mayTake(running.long, this.#max.long - this.#running.long)
  }
}

const isIdle = ({ lines, running, late }: Shard): boolean =>
  lines.short.length + lines.long.length === 0 &&
  running.short + running.long + late.short + late.long === 0

/** What waits, by client. */
class Line {
  length = 0
  /** The client whose turn is next comes first. */
  readonly #clients = new Map<string, Waiting[]>()
  #added = 0
  #taken = 0

  add(client: string, bytes: number, start: () => void): void {
    const waiting = { bytes, start, number: this.#added++ }
    this.length++
    const own = this.#clients.get(client)
    if (own === undefined) this.#clients.set(client, [waiting])
    else {
      const longer = own.findLastIndex(other => other.bytes <= bytes) + 1
      own.splice(longer, 0, waiting)
    }
  }

  take(): Waiting | undefined {
    const [first] = this.#clients
    if (first === undefined) return undefined
    const [client, own] = first
    const isOldest = ++this.#taken % OLDEST_EACH === 0
    const [next] = own.splice(isOldest ? oldestOf(own) : 0, 1)
    this.#clients.delete(client)
    if (own.length > 0) this.#clients.set(client, own)
    this.length--
    return next
  }
}

function oldestOf(waiting: readonly Waiting[]): number {
  let oldest = 0
  for (const [index, { number }] of waiting.entries()) {
    if (number < (waiting[oldest]?.number ?? 0)) oldest = index
  }
  return oldest
}
