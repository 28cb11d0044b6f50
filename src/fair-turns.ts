// Work that asks the store, such as reading pages: a limited number of pieces at the same time.
// Invariant: nobody waits behind all others, and nobody for ever. The clients that wait take turns.
// Of one client's pages the shortest comes first, and every fourth time the oldest. Long pages take
// at most a quarter of the places, because each one keeps the connections to Redis and the event
// loop busy for milliseconds. So a short page waits for few long ones, and a client with one page
// does not wait for the hundred pages of another. While both kinds wait, both go on. Work that
// takes longer than a second probably waits for a silent shard. It gives its place to other work,
// so that rooms on other shards do not wait for it. How much may do so is limited, too.

/** A page with more bytes than this is long. */
export const LONG_BYTES = 128 * 1024
const LONG_SHARE = 4
const PATIENCE_MS = 1000
/** Short work that has given its place away, as a multiple of the places. For long work: once. */
const LATE_SHARE = 8
/** Of a client's pages the oldest comes first once in so many times. */
const OLDEST_EACH = 4

type Kind = {
  readonly line: Line
  /** At the same time, without what is late. */
  readonly max: number
  readonly lateMax: number
  running: number
  late: number
}

type Waiting = { readonly bytes: number; readonly start: () => void; readonly number: number }

export class FairTurns {
  readonly #patienceMs: number
  readonly #short: Kind
  readonly #long: Kind
  #wasLong = false

  constructor(placesMax: number, patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs
    const longMax = Math.max(1, Math.floor(placesMax / LONG_SHARE))
    this.#short = kindOf(placesMax, LATE_SHARE * placesMax)
    this.#long = kindOf(longMax, longMax)
  }

  /** How much waits for its turn. */
  get waiting(): number {
    return this.#short.line.length + this.#long.line.length
  }

  /**
   * Calls `work` when it is its turn, and returns what it returns.
   * @param client whoever it is for: clients take turns
   * @param bytes how long a page is expected to be; 0 for everything else
   */
  async run<T>(client: string, bytes: number, work: () => Promise<T>): Promise<T> {
    const kind = bytes > LONG_BYTES ? this.#long : this.#short
    await new Promise<void>(resolve => {
      kind.line.add(client, bytes, resolve)
      this.#startNext()
    })
    let isLate = false
    const timer = setInterval(() => {
      if (kind.late >= kind.lateMax) return
      clearInterval(timer)
      isLate = true
      kind.late++
      kind.running--
      this.#startNext()
    }, this.#patienceMs)
    try {
      return await work()
    } finally {
      clearInterval(timer)
      if (isLate) kind.late--
      else kind.running--
      this.#startNext()
    }
  }

  #startNext(): void {
    while (this.#short.running + this.#long.running < this.#short.max) {
      const isLong = this.#takesLong()
      const kind = isLong ? this.#long : this.#short
      const next = kind.line.take()
      if (next === undefined) return
      this.#wasLong = isLong
      kind.running++
      next.start()
    }
  }

  // Short pages first, but not for ever: one place is for long ones. If there is only one at all,
  // both kinds take turns.
  #takesLong(): boolean {
    const { line, running, max } = this.#long
    if (line.length === 0 || running >= max) return false
    return this.#short.line.length === 0 || (running === 0 && !this.#wasLong)
  }
}

const kindOf = (max: number, lateMax: number): Kind => ({
  line: new Line(),
  max,
  lateMax,
  running: 0,
  late: 0
})

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
