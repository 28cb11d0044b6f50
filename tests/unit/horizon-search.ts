// The search for the first message that has not expired, over a log that a failover takes back or
// that is out of reach for a moment.
import t from 'tap'
import { HorizonSearch } from '../../src/store/horizon-search.js'
import { type LogEntry } from '../../src/store/pieces.js'
import { clockOf } from '../support/clock.js'

const SEGMENT_LENGTH = 4
const HORIZON_MS = 1000

/** A log in memory: `times[i]` is the time of sequence i + 1; the tail begins at `tailFirst`. */
class MemoryLog {
  readonly segmentLength = SEGMENT_LENGTH
  times: number[]
  tailFirst = 1
  /** How many reads of the tail find nothing, as while its slot is half-moved. */
  emptyReads = 0
  /** Where the tail begins after its next read: another process seals meanwhile. */
  sealedTo: number | undefined
  reads = 0

  constructor(times: number[]) {
    this.times = times
  }

  async head(): Promise<LogEntry | undefined> {
    return this.times.length === 0 ? undefined : this.#entry(this.times.length)
  }

  async oldestOfTail(): Promise<LogEntry[]> {
    const { tailFirst } = this
    this.tailFirst = this.sealedTo ?? tailFirst
    return this.times.length === 0 ? [] : [this.#entry(tailFirst)]
  }

  async tail(_room: string, from: number, to: number): Promise<LogEntry[]> {
    if (this.emptyReads-- > 0) return []
    return this.#range(Math.max(from, this.tailFirst), to)
  }

  async segments(_room: string, from: number, to: number): Promise<LogEntry[]> {
    return this.#range(from, Math.min(to, this.tailFirst - 1))
  }

  async startOfSegment(_room: string, segment: number): Promise<LogEntry | undefined> {
    return this.#entry(segment * SEGMENT_LENGTH + 1)
  }

  #range(from: number, to: number): LogEntry[] {
    this.reads++
    const last = Math.min(to, this.times.length)
    return Array.from({ length: Math.max(0, last - from + 1) }, (_, index) =>
      this.#entry(from + index)
    )
  }

  #entry(seq: number): LogEntry {
    return { seq, reference: `ann.0/${this.times[seq - 1]}-0` }
  }
}

const old = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)
const young = (count: number): number[] =>
  Array.from({ length: count }, (_, index) => HORIZON_MS + index)

t.test('the first message that is young enough is found, wherever it lies', async t => {
  for (const tailFirst of [1, 5, 9, 13]) {
    for (let expired = 0; expired <= 16; expired++) {
      const log = new MemoryLog([...old(expired), ...young(16 - expired)])
      log.tailFirst = tailFirst
      const search = new HorizonSearch(log, log)
      t.equal(await search.first('room', 1, HORIZON_MS), expired + 1, `${expired} of 16 expired`)
    }
  }
})

t.test('nothing has expired in a room without messages', async t => {
  const log = new MemoryLog([])
  const search = new HorizonSearch(log, log)
  t.equal(await search.first('room', 1, HORIZON_MS), 1)
  t.equal(await search.first('deleted up to 7', 8, HORIZON_MS), 8)
})

t.test('a tail that cannot be read for a moment is not taken for an expired one', async t => {
  const log = new MemoryLog([...old(2), ...young(3)])
  log.emptyReads = 1
  t.equal(await new HorizonSearch(log, log).first('room', 1, HORIZON_MS), 3)
  log.emptyReads = Infinity
  await t.rejects(new HorizonSearch(log, log).first('room', 1, HORIZON_MS), {
    code: 'STORE_UNAVAILABLE'
  })
})

t.test('what is sealed between two reads has not expired', async t => {
  const log = new MemoryLog(young(12))
  log.sealedTo = 5
  t.equal(await new HorizonSearch(log, log).first('room', 1, HORIZON_MS), 1)
})

t.test(
  'sequences that a failover takes back are not expired when they are given out again',
  async t => {
    const log = new MemoryLog(old(6))
    const search = new HorizonSearch(log, log)
    t.equal(await search.first('room', 1, HORIZON_MS), 7, 'all have expired')
    // The head goes back to 4, and a message is written as 5.
    log.times = [...old(4), HORIZON_MS]
    search.noteHead('room', 5)
    t.equal(await search.first('room', 1, HORIZON_MS), 5)
  }
)

t.test(
  'what was found before is the start of the next search only if it is still right',
  async t => {
    const advance = clockOf(t)
    const log = new MemoryLog(old(6))
    const search = new HorizonSearch(log, log)
    t.equal(await search.first('room', 1, HORIZON_MS), 7)
    // After a failover others have written 5 to 7, and this process has not looked at the head.
    log.times = [...old(4), ...young(3)]
    advance(1000)
    t.equal(await search.first('room', 1, HORIZON_MS), 5)
  }
)
