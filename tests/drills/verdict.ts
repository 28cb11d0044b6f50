// Whether the promises were kept: compares what was sent, what was answered, what is stored and
// what each reader received. Every broken promise is a violation, one sentence each. Pure, except
// for reading what is stored.
import { roomSlot } from '../../src/store/keys.js'
import { type Lag, type StoodStill } from './lag.js'
import { type Ledger } from './ledger.js'
import { includesSlot } from './operator.js'
import { type ReaderRecord } from './reader-record.js'
import { readStored, type StoredMessage } from './stored.js'

/**
 * Which failed POSTs the faults excuse: none; 503s while a master was dead or within the deadline
 * after that; 503s at any time; 503s and broken connections, if a service was killed.
 */
export type Excused = 'none' | 'failover' | '5xx' | 'unanswered'

export type FailureCount = {
  readonly what: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
}

/** A killed master, and when its replica took over. Times are on the clock of performance.now(). */
export type Takeover = {
  readonly slots: ReadonlyArray<readonly [first: number, last: number]>
  readonly killedMs: number
  /** When the first node named another owner of its slots. */
  readonly takenOverMs: number
}

export type Verdict = {
  readonly posts: {
    readonly sent: number
    readonly acknowledged: number
    readonly failed: number
    readonly failures: readonly FailureCount[]
    readonly answerMsMax: number
  }
  /**
   * `unacknowledged`: failed POSTs that were stored nevertheless. That is allowed, but only once
   * for each POST.
   */
  readonly stored: {
    readonly rooms: number
    readonly messages: number
    readonly unacknowledged: number
  }
  readonly frames: {
    readonly readers: number
    readonly expected: number
    readonly received: number
    readonly missing: number
    readonly repeated: number
    readonly outOfOrder: number
    readonly different: number
    readonly lost: number
    readonly resets: number
  }
  /**
   * The time from each takeover to the first acknowledged message in a room whose log was on the
   * dead master.
   */
  readonly resumedMs: readonly number[]
  /** The machine's pauses during the load. */
  readonly stoodStill: StoodStill
  readonly violations: readonly string[]
}

/** `ends`: why its connections ended, the newest last. */
export type Reader = { readonly record: ReaderRecord; readonly ends: readonly string[] }

export type VerdictOptions = {
  readonly ledger: Ledger
  readonly readers: readonly Reader[]
  readonly url: string
  /** For a service that asks for a token. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: none. */
  readonly excused?: Excused
  /** A POST that is answered later than this breaks a promise. Default: none does. */
  readonly answerMsMax?: number
  readonly takeovers?: readonly Takeover[]
  /** Pauses of the machine, which are deducted from judged times. */
  readonly lag?: Lag
  /** When the load started: the times of failures are relative to it. Default: the process did. */
  readonly startedMs?: number
}

const EXAMPLES_MAX = 3
/** The time that the service may take in addition to the cluster's own failover. */
const RESUMED_MS_MAX = 1000
/** An answer that comes so soon after the kill does not prove that the slots are served again. */
const ON_ITS_WAY_MS = 300

/** Collects violations by kind, each with a few examples. */
class Violations {
  readonly #kinds = new Map<string, { count: number; readonly examples: string[] }>()

  add(kind: string, example: string): void {
    const known = this.#kinds.get(kind) ?? { count: 0, examples: [] }
    this.#kinds.set(kind, known)
    known.count++
    if (known.examples.length < EXAMPLES_MAX) known.examples.push(example)
  }

  toSentences(): string[] {
    return [...this.#kinds].map(
      ([kind, { count, examples }]) => `${count} × ${kind}: ${examples.join('; ')}`
    )
  }
}

export async function judgeAll(options: VerdictOptions): Promise<Verdict> {
  const { ledger, readers, url } = options
  const violations = new Violations()
  const rooms = new Map<string, StoredMessage[]>()
  for (const room of new Set([
    ...ledger.rooms,
    ...readers.map(({ record }) => record.transcript.room)
  ])) {
    rooms.set(room, await readStored(url, room, options.headers))
  }
  return {
    posts: judgePosts(options, violations),
    stored: judgeStored(ledger, rooms, violations),
    frames: judgeFrames(readers, rooms, violations),
    resumedMs: (options.takeovers ?? []).flatMap(takeover =>
      judgeTakeover(options, takeover, violations)
    ),
    stoodStill: options.lag?.stoodStill ?? { times: 0, ms: 0 },
    violations: violations.toSentences()
  }
}

function judgePosts(
  {
    ledger,
    excused = 'none',
    answerMsMax = Infinity,
    takeovers = [],
    startedMs = 0
  }: VerdictOptions,
  violations: Violations
): Verdict['posts'] {
  const failures = new Map<string, { count: number; firstMs: number; lastMs: number }>()
  let slowestMs = 0
  for (const { outcome, room, text, sentMs, answeredMs } of ledger.all) {
    if (outcome === undefined) {
      violations.add('POST without any outcome', text)
      continue
    }
    slowestMs = Math.max(slowestMs, answeredMs - sentMs)
    if (answeredMs - sentMs > answerMsMax) {
      violations.add(
        `POST that took longer than ${answerMsMax} ms`,
        `${Math.round(answeredMs - sentMs)} ms for ${text} in ${room}`
      )
    }
    if (outcome.isAcknowledged) continue
    const what = `${outcome.status ?? 'no answer'} ${outcome.code}`
    const atMs = answeredMs - startedMs
    const known = failures.get(what)
    failures.set(what, {
      count: (known?.count ?? 0) + 1,
      firstMs: Math.min(known?.firstMs ?? Infinity, atMs),
      lastMs: Math.max(known?.lastMs ?? 0, atMs)
    })
    // A refused command is a fault of the service, whatever else is broken.
    const isHonest =
      outcome.status !== undefined &&
      outcome.status >= 500 &&
      !['INTERNAL', 'STORE_REFUSED'].includes(outcome.code)
    const isInFailover = takeovers.some(
      ({ killedMs, takenOverMs }) =>
        answeredMs >= killedMs && answeredMs <= takenOverMs + answerMsMax
    )
    const isExcused =
      excused === 'unanswered'
        ? outcome.status === undefined || isHonest
        : isHonest && (excused === '5xx' || (excused === 'failover' && isInFailover))
    if (!isExcused) {
      violations.add(
        'POST that must not fail, failed',
        `${what} (${outcome.reason}) at ${Math.round(atMs)} ms`
      )
    }
  }
  return {
    sent: ledger.all.length,
    acknowledged: ledger.acknowledged,
    failed: ledger.failed,
    failures: [...failures]
      .map(([what, failure]) => ({ what, ...failure }))
      .sort((a, b) => b.count - a.count),
    answerMsMax: slowestMs
  }
}

function judgeStored(
  ledger: Ledger,
  rooms: ReadonlyMap<string, readonly StoredMessage[]>,
  violations: Violations
): Verdict['stored'] {
  const found = new Map<string, string>()
  let messages = 0
  let unacknowledged = 0
  for (const [room, stored] of rooms) {
    messages += stored.length
    for (const [index, { seq, user, text }] of stored.entries()) {
      const place = `${room} ${seq}`
      if (seq !== index + 1) {
        violations.add(
          'sequence that is not the next one',
          `${seq} is at place ${index + 1} of ${room}`
        )
      }
      if (text === undefined) {
        violations.add('message that the store has lost', place)
        continue
      }
      const sent = ledger.find(text)
      if (sent === undefined || sent.room !== room || sent.user !== user) {
        violations.add('stored message that nobody sent', `${place}: ${user}: ${text}`)
        continue
      }
      const before = found.get(text)
      if (before !== undefined) {
        violations.add(
          'message that is stored twice',
          `${before} and ${place}: ${text} (${describe(sent.outcome)})`
        )
      }
      found.set(text, place)
      if (sent.outcome?.isAcknowledged === false) unacknowledged++
    }
  }
  for (const { room, text, outcome } of ledger.all) {
    if (outcome?.isAcknowledged !== true) continue
    const place = found.get(text)
    if (place === undefined) {
      violations.add('acknowledged message that is not stored', `${room} ${outcome.seq}: ${text}`)
    } else if (place !== `${room} ${outcome.seq}`) {
      violations.add(
        'message elsewhere than acknowledged',
        `${room} ${outcome.seq} is at ${place}: ${text}`
      )
    }
  }
  return { rooms: rooms.size, messages, unacknowledged }
}

const describe = (outcome: Ledger['all'][number]['outcome']): string =>
  outcome?.isAcknowledged === true
    ? `acknowledged as ${outcome.seq}`
    : `failed with ${outcome?.code}`

function judgeTakeover(
  { ledger, lag }: VerdictOptions,
  { slots, killedMs, takenOverMs }: Takeover,
  violations: Violations
): number[] {
  const answers = ledger.all.filter(
    ({ room, outcome, answeredMs }) =>
      outcome?.isAcknowledged === true &&
      answeredMs > killedMs + ON_ITS_WAY_MS &&
      includesSlot(slots, roomSlot(room))
  )
  if (answers.length === 0) return []
  const firstMs = answers.reduce((least, { answeredMs }) => Math.min(least, answeredMs), Infinity)
  const resumedMs = firstMs - takenOverMs - (lag?.overlapMs(takenOverMs, firstMs) ?? 0)
  if (resumedMs > RESUMED_MS_MAX) {
    violations.add(
      'takeover after which writing resumed too late',
      `${Math.round(resumedMs)} ms after the failover`
    )
  }
  return [resumedMs]
}

function judgeFrames(
  readers: readonly Reader[],
  rooms: ReadonlyMap<string, readonly StoredMessage[]>,
  violations: Violations
): Verdict['frames'] {
  const sum = {
    readers: readers.length,
    expected: 0,
    received: 0,
    missing: 0,
    repeated: 0,
    outOfOrder: 0,
    different: 0,
    lost: 0,
    resets: 0
  }
  for (const [index, { record, ends }] of readers.entries()) {
    const { room } = record.transcript
    const head = rooms.get(room)?.length ?? 0
    const missing = record.faults.missing + Math.max(0, head - record.last)
    sum.expected += head - record.after
    sum.received += record.received
    sum.missing += missing
    const name = `reader ${index} of ${room}`
    if (missing > 0) {
      violations.add(
        'reader that misses messages',
        `${name} misses ${missing} of ${head}, its last is ${record.last} (its connections ended: ${ends.join(', ') || 'never'})`
      )
    }
    if (record.last > head) {
      violations.add(
        'reader that was given more than there is',
        `${name} has ${record.last} of ${head}`
      )
    }
    for (const kind of ['repeated', 'outOfOrder', 'different', 'lost', 'resets'] as const) {
      sum[kind] += record.faults[kind]
      if (record.faults[kind] > 0) {
        violations.add(
          `reader with ${kind}`,
          `${name}: ${record.faults[kind]} ${record.resetReasons.join(', ')}`
        )
      }
    }
  }
  for (const transcript of new Set(readers.map(({ record }) => record.transcript))) {
    for (const { seq, text } of rooms.get(transcript.room) ?? []) {
      const seen = transcript.text(seq)
      if (seen !== undefined && seen !== text) {
        violations.add(
          'message that readers saw otherwise than it is stored',
          `${transcript.room} ${seq}: ${seen} is ${text}`
        )
      }
    }
  }
  return sum
}
