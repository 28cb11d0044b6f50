// Readers at 1 KB/s beside many fast ones. The fast ones must not notice, the memory of the process
// may grow only by the allowance of each slow reader, and the slow ones must get everything when
// they speed up. The times of the fast ones are compared with those before and after, and if they
// are too long, everything is measured again: the machine may have been busy with something else.
import { setTimeout as sleep } from 'node:timers/promises'
import { count } from '../../src/cli/progress.js'
import { randomFrom } from '../../src/cli/zipf.js'
import { COLLECTING, collectGarbage } from './collecting.js'
import { type Experiment, type Findings, scaled } from './findings.js'
import { Ledger } from './ledger.js'
import { readMetric } from './metric.js'
import { ReaderRecord } from './reader-record.js'
import { Recorder } from './recorder.js'
import { bearer } from './rights.js'
import { percentile, Samples } from './samples.js'
import { readHead } from './stored.js'
import { Transcript } from './transcript.js'
import { until } from '../support/until.js'
import { judgeAll } from './verdict.js'
import { World } from './world.js'
import { Writers } from './writers.js'

const FAST = 500
const SLOW = 50
const SLOW_BYTES_PER_SECOND = 1024
/**
 * Far more than the system buffers for a connection, so that the service has to hold back the rest.
 */
const HISTORY_LENGTH = 5000
const TEXT_BYTES = 2000
const PER_SECOND = 50
const PHASE_MS = 10_000
const WINDOW_MS = 500
const LATENCY_FACTOR_MAX = 1.5
/**
 * A factor means little if it applies to a few milliseconds: the process may have waited for the
 * processor.
 */
const LATENCY_MS_MIN = 20
const COLLECTIONS = 4
const ROUNDS_MAX = 3

// Defaults of the service, repeated here because the bound follows from them. Each slow reader may
// hold what its socket takes and one more piece of a page. All of them together may hold a page,
// both as it came from the store and as frames, and the room's ring.
const SOCKET_BYTES_MAX = 64 * 1024
const PAGE_BYTES_MAX = 1024 * 1024
const RING_BYTES_MAX = 1024 * 1024
const READER_BYTES_MAX = 2 * SOCKET_BYTES_MAX + TEXT_BYTES + 300

export const slowReaders: Experiment = {
  about: '50 readers at 1 KB/s beside 500 fast ones: latency, memory, and that all get everything',
  hold: async ({ scale, seed, report, rights }) => {
    const world = await World.start({
      services: 1,
      nodeOptions: [COLLECTING],
      env: {
        SOCKET_BYTES_MAX: String(SOCKET_BYTES_MAX),
        PAGE_BYTES_MAX: String(PAGE_BYTES_MAX),
        RING_BYTES_MAX: String(RING_BYTES_MAX),
        STALLED_MS_MAX: '600000',
        ...rights?.env
      },
      report
    })
    const recorders: Recorder[] = []
    try {
      return await measure(world, recorders, { scale, seed, rights })
    } finally {
      for (const recorder of recorders) recorder.stop()
      await world.stop()
    }
  }
}

async function measure(
  world: World,
  recorders: Recorder[],
  { scale, seed, rights }: Pick<Parameters<Experiment['hold']>[0], 'scale' | 'seed' | 'rights'>
): Promise<Findings> {
  const headers = bearer(rights?.reader)
  const ofOperator = bearer(rights?.writer)
  const [url = ''] = world.urls
  const room = `slow-${seed}`
  const ledger = new Ledger()
  const writing = {
    urls: world.urls,
    ledger,
    random: randomFrom(seed),
    textBytes: TEXT_BYTES,
    token: rights?.writer
  }
  const fill = new Writers({
    ...writing,
    messagesMax: HISTORY_LENGTH,
    writers: Array.from({ length: 20 }, (_, index) => ({ user: `writer-${index}`, rooms: [room] }))
  }).start()
  await fill.done()
  await fill.stop()
  const head = await readHead(url, room, headers)
  world.did(`${count(head)} messages of history`)

  const transcript = new Transcript(room)
  const deliveryMs = new Samples()
  const join = (after: number, bytesPerSecond?: number): Recorder => {
    const record = new ReaderRecord(transcript, after, (atMs, latencyMs) => {
      deliveryMs.add(atMs, latencyMs)
    })
    const recorder = new Recorder(record, {
      urls: world.urls,
      headers,
      query: `after=${after}`,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond })
    })
    recorders.push(recorder)
    return recorder.start()
  }
  const fast = Array.from({ length: scaled(FAST, scale) }, () => join(head))
  await until('the fast readers are live', () => fast.every(({ record }) => record.isLive))
  const writers = new Writers({
    ...writing,
    writers: Array.from({ length: 10 }, (_, index) => ({
      user: `writer-${index}`,
      rooms: [room],
      perSecond: PER_SECOND / 10
    }))
  }).start()
  const phaseMs = scaled(PHASE_MS, scale, 4000)

  world.did(`${fast.length} fast readers`)
  const rounds: Round[] = []
  let before = await observe(deliveryMs, phaseMs)
  do {
    const bytesBefore = await heldBytes(world, ofOperator)
    const slow = Array.from({ length: scaled(SLOW, scale, 10) }, () =>
      join(0, SLOW_BYTES_PER_SECOND)
    )
    world.did(`${slow.length} slow readers`)
    await until('the slow readers are connected', () =>
      slow.every(({ connects }) => connects === 1)
    )
    const beside = await observe(deliveryMs, phaseMs)
    const grownBytes = (await heldBytes(world, ofOperator)) - bytesBefore
    const behind = slow.filter(({ record }) => record.last < head / 2).length
    for (const recorder of slow) recorder.throttle(undefined)
    world.did('the slow readers read fast')
    await untilAllHave(slow, await readHead(url, room, headers))
    const after = await observe(deliveryMs, phaseMs)
    rounds.push({ before, beside, after, grownBytes, slow: slow.length, behind })
    before = after
  } while (rounds.every(isTooSlow) && rounds.length < ROUNDS_MAX)
  await writers.stop()
  await untilAllHave(recorders, await readHead(url, room, headers))
  const verdict = await judgeAll({
    ledger,
    readers: recorders,
    url,
    headers
  })

  return {
    figures: [
      ...rounds.flatMap(figuresOf),
      `frames: ${count(verdict.frames.expected)} expected, ${count(verdict.frames.received)} received`
    ],
    violations: [
      ...verdict.violations,
      ...(rounds.every(isTooSlow)
        ? [`p99 of fast readers was too long in each of ${rounds.length} rounds`]
        : []),
      ...rounds.flatMap(violationsOf)
    ]
  }
}

type Phase = {
  readonly p99Ms: number
  /** The median of the p99s of the phase's windows. */
  readonly typicalMs: number
}

type Round = {
  readonly before: Phase
  readonly beside: Phase
  readonly after: Phase
  readonly grownBytes: number
  readonly slow: number
  /** How many of the slow readers were still slow at the end of the phase beside them. */
  readonly behind: number
}

function isTooSlow({ before, beside, after }: Round): boolean {
  const usualMs = Math.max(before.typicalMs, after.typicalMs)
  return beside.typicalMs > Math.max(LATENCY_FACTOR_MAX * usualMs, usualMs + LATENCY_MS_MIN)
}

const bytesMaxOf = ({ slow }: Round): number =>
  slow * READER_BYTES_MAX + 2 * PAGE_BYTES_MAX + RING_BYTES_MAX

function figuresOf(round: Round): string[] {
  const { before, beside, after, grownBytes, slow } = round
  const p99s = [before, beside, after].map(({ p99Ms }) => p99Ms.toFixed(1)).join(', ')
  const typical = [before, beside, after].map(({ typicalMs }) => typicalMs.toFixed(1)).join(', ')
  return [
    `delivery to fast readers before, beside and after slow ones: p99 ${p99s} ms (median of windows ${typical} ms)`,
    `memory: grown by ${mib(grownBytes)} for ${slow} slow readers, allowed are ${mib(bytesMaxOf(round))}`
  ]
}

function violationsOf(round: Round): string[] {
  const { grownBytes, slow, behind } = round
  return [
    ...(grownBytes > bytesMaxOf(round)
      ? [`memory grew by ${mib(grownBytes)}, more than ${mib(bytesMaxOf(round))}`]
      : []),
    ...(behind < slow
      ? [`only ${behind} of ${slow} slow readers were slow: nothing was tried`]
      : [])
  ]
}

/** Does not fail: the verdict says what is missing. */
const untilAllHave = (recorders: readonly Recorder[], last: number): Promise<void> =>
  until('everyone has everything', () =>
    recorders.every(({ record }) => record.last >= last)
  ).catch(() => undefined)

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/**
 * The p99 over a phase, and the median of the p99s of its windows, which a single busy moment of
 * the machine does not distort.
 */
async function observe(deliveryMs: Samples, phaseMs: number): Promise<Phase> {
  const fromMs = performance.now()
  await sleep(phaseMs)
  const windows = deliveryMs
    .bins(fromMs, WINDOW_MS, Math.floor(phaseMs / WINDOW_MS))
    .filter(({ length }) => length > 0)
  return {
    p99Ms: percentile(deliveryMs.between(fromMs, performance.now()), 99),
    typicalMs: percentile(
      Float64Array.from(windows.map(window => percentile(window, 99))).sort(),
      50
    )
  }
}

/**
 * The memory of JavaScript and its buffers in the service after a garbage collection: the least of
 * several looks, because a busy process keeps allocating.
 */
async function heldBytes(
  { services: [service] }: World,
  headers: Readonly<Record<string, string>>
): Promise<number> {
  if (service?.pid === undefined) throw new Error('The service is not running')
  let least = Infinity
  for (let look = 0; look < COLLECTIONS; look++) {
    await collectGarbage(service.pid)
    least = Math.min(
      least,
      (await readMetric(service.url, 'nodejs_heap_size_used_bytes', headers)) +
        (await readMetric(service.url, 'nodejs_external_memory_bytes', headers))
    )
  }
  return least
}
