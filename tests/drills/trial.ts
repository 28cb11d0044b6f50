// One trial: a cluster with services, readers, writers, and faults in the middle of the load; then
// the verdict. The same seed selects the same rooms, targets and moments. A trial ends everything
// that it started.
import { setTimeout as sleep } from 'node:timers/promises'
import { randomFrom } from '../../src/cli/zipf.js'
import { runCheck } from './check-run.js'
import { CombinedRecorder } from './combined-recorder.js'
import { Lag } from './lag.js'
import { Ledger } from './ledger.js'
import { Pager } from './pager.js'
import { type Cut } from './partitions.js'
import { ReaderRecord } from './reader-record.js'
import { Recorder } from './recorder.js'
import { bearer, ExpiringStreams, rightsFor, type Rights } from './rights.js'
import { Samples } from './samples.js'
import { readHead } from './stored.js'
import { Transcript } from './transcript.js'
import { until } from '../support/until.js'
import { judgeAll, type Excused, type Reader, type Takeover, type Verdict } from './verdict.js'
import { World, type WorldOptions } from './world.js'
import { Writers, type Writer } from './writers.js'

export type TrialOptions = WorldOptions & {
  readonly seed: number
  readonly rooms: readonly string[]
  /** Messages that are written before any reader connects. */
  readonly history?: { readonly user: string; readonly room: string; readonly messages: number }
  readonly writers: readonly Writer[]
  /** The number of streams of one room each. */
  readonly readers: number
  /**
   * The number of streams of all rooms (the first hundred) on one connection each; default none.
   */
  readonly combined?: number
  /** The number of readers of pages; default none. */
  readonly pagers?: number
  /** The load continues until this many messages are answered and the faults are over. */
  readonly messages: number
  /** The least time under load before and after the faults; default 0. */
  readonly quietMs?: number
  readonly isRepeating?: boolean
  readonly textBytes?: number
  readonly excused?: Excused
  /** The services ask for tokens, and there are streams whose tokens expire all the time. */
  readonly hasRights?: boolean
  /**
   * Other client libraries that read as well. Each writes what it receives to the record that it
   * gets.
   */
  readonly guests?: ReadonlyArray<(record: ReaderRecord, urls: readonly string[]) => Promise<Guest>>
  /** The faults in the middle of the load. */
  readonly faults?: (trial: Trial) => Promise<void>
}

export type Guest = Reader & { readonly stop: () => Promise<void> }

/**
 * Times on the clock of performance.now(): the load runs from start to end, the faults from
 * `faultsMs` to `healedMs`.
 */
export type Times = { startMs: number; faultsMs: number; healedMs: number; endMs: number }

const POLL_MS = 20
const CATCH_UP_MS_MAX = 60_000
/**
 * The service has 10 s from when it has read a POST. The rest is for the way there and back on a
 * busy machine.
 */
const ANSWER_MS_MAX = 15_000
const SHARE_BEFORE = 0.25
const HISTORY_WRITERS = 32
const EXAMPLES_MAX = 10
const ROOMS_PER_STREAM_MAX = 100

export class Trial {
  readonly world: World
  readonly ledger = new Ledger()
  readonly recorders: readonly Recorder[]
  /** Readers of all rooms on one connection each. */
  readonly combined: readonly CombinedRecorder[]
  readonly #pagers: readonly Pager[]
  readonly #rights: Rights | undefined
  /** Only where the services ask for tokens. */
  readonly expiring: ExpiringStreams | undefined
  readonly #guests: Guest[] = []
  readonly #transcripts: readonly Transcript[]
  /**
   * The latency of each delivery in ms, from when the message was due, recorded at the time of the
   * delivery.
   */
  readonly deliveryMs = new Samples()
  /** Notices when the machine stands still during the load. */
  readonly lag = new Lag()
  /** The takeovers that the verdict judges. Faults add them. */
  readonly takeovers: Takeover[] = []
  /** When the network was cut. */
  readonly cuts: Cut[] = []
  /** Faults add the violations that they find themselves. */
  readonly findings: string[] = []
  readonly random: () => number
  readonly times: Times = { startMs: 0, faultsMs: 0, healedMs: 0, endMs: 0 }
  readonly #options: TrialOptions

  private constructor(options: TrialOptions, world: World, rights: Rights | undefined) {
    this.#options = options
    this.world = world
    this.#rights = rights
    this.random = randomFrom(options.seed)
    const headers = bearer(rights?.reader)
    this.expiring =
      rights === undefined
        ? undefined
        : new ExpiringStreams(options.rooms, world.urls, this.random, this.lag)
    this.#transcripts = options.rooms.map(room => new Transcript(room))
    this.recorders = Array.from({ length: options.readers }, (_, index) => {
      const record = new ReaderRecord(at(this.#transcripts, index), 0, (atMs, latencyMs) => {
        this.deliveryMs.add(atMs, latencyMs)
      })
      return new Recorder(record, {
        urls: world.urls,
        headers,
        first: Math.floor(index / this.#transcripts.length)
      })
    })
    this.combined = Array.from(
      { length: options.combined ?? 0 },
      () =>
        new CombinedRecorder(
          this.#transcripts
            .slice(0, ROOMS_PER_STREAM_MAX)
            .map(transcript => new ReaderRecord(transcript, 0)),
          world.urls,
          headers
        )
    )
    this.#pagers = Array.from(
      { length: options.pagers ?? 0 },
      () => new Pager(this.#transcripts, world.urls, this.random, headers)
    )
  }

  /** Runs a trial from start to end. `look` gets it before its cluster and services are gone. */
  static async hold<T>(
    options: TrialOptions,
    look: (trial: Trial, verdict: Verdict) => Promise<T> | T
  ): Promise<T> {
    const rights = options.hasRights === true ? await rightsFor(options.rooms) : undefined
    const world = await World.start({ ...options, env: { ...options.env, ...rights?.env } })
    const trial = new Trial(options, world, rights)
    try {
      return await look(trial, await trial.#run())
    } finally {
      for (const recorder of [...trial.recorders, ...trial.combined]) recorder.stop()
      for (const guest of trial.#guests) await guest.stop()
      await world.stop()
    }
  }

  readonly pick = <T>(list: readonly T[]): T => {
    const one = list[Math.floor(this.random() * list.length)]
    if (one === undefined) throw new Error('Nothing to pick from')
    return one
  }

  async #run(): Promise<Verdict> {
    const {
      history,
      guests = [],
      messages,
      quietMs = 0,
      faults,
      excused = 'none',
      isRepeating = false,
      textBytes = 100
    } = this.#options
    const { world, ledger, recorders, times } = this
    if (history !== undefined) await this.#fill(history)
    const answered = ledger.acknowledged + ledger.failed
    for (const recorder of [...recorders, ...this.combined]) recorder.start()
    for (const [index, guest] of guests.entries()) {
      this.#guests.push(await guest(new ReaderRecord(at(this.#transcripts, index), 0), world.urls))
    }
    await until('every reader is live', () => this.#readers.every(({ record }) => record.isLive))

    for (const { record } of recorders) record.watch()
    times.startMs = performance.now()
    this.lag.start()
    const writers = new Writers({
      urls: world.urls,
      writers: this.#options.writers,
      ledger,
      random: this.random,
      isRepeating,
      textBytes,
      token: this.#rights?.writer
    }).start()
    this.expiring?.start()
    for (const pager of this.#pagers) pager.start()
    try {
      if (faults !== undefined) {
        await until(
          'the load has started',
          () =>
            ledger.acknowledged + ledger.failed >= answered + SHARE_BEFORE * messages &&
            performance.now() >= times.startMs + quietMs,
          Infinity
        )
        times.faultsMs = performance.now()
        await faults(this)
        times.healedMs = performance.now()
      }
      const fromMs = performance.now()
      await until(
        'the load is done',
        () =>
          ledger.acknowledged + ledger.failed >= answered + messages &&
          performance.now() >= fromMs + quietMs,
        Infinity
      )
    } finally {
      await writers.stop()
      for (const pager of this.#pagers) await pager.stop()
      await this.expiring?.stop()
      this.lag.stop()
    }
    times.endMs = performance.now()
    for (const { record } of recorders) record.unwatch()
    await this.#caughtUp()
    const answerMsMax = isRepeating ? Infinity : ANSWER_MS_MAX
    const verdict = await judgeAll({
      ledger,
      readers: this.#readers,
      url: this.#livingUrl,
      headers: bearer(this.#rights?.reader),
      excused,
      answerMsMax,
      takeovers: this.takeovers,
      lag: this.lag,
      startedMs: times.startMs
    })
    const ofPages = this.#pagers.flatMap(({ violations }) => violations).slice(0, EXAMPLES_MAX)
    return {
      ...verdict,
      violations: [
        ...verdict.violations,
        ...this.findings,
        ...(this.expiring?.violations ?? []),
        ...ofPages,
        ...(await runCheck(world, this.#options.env ?? {}))
      ]
    }
  }

  async #fill({ user, room, messages }: NonNullable<TrialOptions['history']>): Promise<void> {
    const { world, ledger, random } = this
    const writer: Writer = { user, rooms: [room] }
    const writers = new Writers({
      urls: world.urls,
      ledger,
      random,
      token: this.#rights?.writer,
      messagesMax: messages,
      writers: new Array<Writer>(HISTORY_WRITERS).fill(writer)
    }).start()
    await writers.done()
    await writers.stop()
  }

  get #readers(): Reader[] {
    const combined = this.combined.flatMap(({ records, ends }) =>
      [...records.values()].map(record => ({ record, ends }))
    )
    return [...this.recorders, ...combined, ...this.#guests]
  }

  get #livingUrl(): string {
    return this.world.services.find(({ isRunning }) => isRunning)?.url ?? ''
  }

  // Stops waiting for late readers: the verdict reports what is missing.
  async #caughtUp(): Promise<void> {
    const heads = new Map<string, number>()
    for (const {
      record: {
        transcript: { room }
      }
    } of this.#readers) {
      if (!heads.has(room)) {
        heads.set(room, await readHead(this.#livingUrl, room, bearer(this.#rights?.reader)))
      }
    }
    const deadline = performance.now() + CATCH_UP_MS_MAX
    while (
      performance.now() < deadline &&
      !this.#readers.every(({ record }) => record.last >= (heads.get(record.transcript.room) ?? 0))
    ) {
      await sleep(POLL_MS)
    }
  }
}

const at = <T>(list: readonly T[], index: number): T => {
  const one = list[index % list.length]
  if (one === undefined) throw new Error('The list is empty')
  return one
}
