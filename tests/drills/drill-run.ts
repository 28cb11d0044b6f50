// One drill from start to end: a trial with ten writers, one of them ten times as busy as the
// others, and a hundred readers. It returns everything that the report needs as plain values,
// because the cluster and the services are gone afterwards.
import { phasesOf, type Phase } from './figures.js'
import { ClusterRuns, type ClusterRun } from './cluster-runs.js'
import { BUSIEST, type Drill, ROOM } from './drills.js'
import { judgeLimits } from './limits.js'
import { percentile, type Samples } from './samples.js'
import { watchSlots } from './slot-watch.js'
import { Trial, type TrialOptions } from './trial.js'
import { type Verdict } from './verdict.js'

export type DrillSize = {
  readonly seed: number
  /** Messages a second of each writer; the busiest writes ten times as many. */
  readonly rate: number
  readonly readers: number
  /** The time under load before, and again after, the change of the cluster. */
  readonly quietMs: number
  /** The number of messages that the busiest user has written before the load starts. */
  readonly history: number
  /** The services ask for tokens, and streams whose tokens expire must end on time. */
  readonly hasRights?: boolean
}

export type Latencies = {
  readonly phase: string
  readonly what: 'POST' | 'delivery'
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** The figures of each half second: rates per second, and milliseconds. */
export type Bin = {
  readonly atS: number
  readonly posts: number
  readonly deliveries: number
  readonly postP99: number
  readonly deliveryP99: number
  readonly slotsMoved: number
}

export type DrillResult = {
  readonly drill: Drill
  readonly size: DrillSize
  readonly runs: readonly ClusterRun[]
  readonly deeds: ReadonlyArray<{ readonly atS: number; readonly text: string }>
  /** Seconds since the load started. */
  readonly span: { readonly fromS: number; readonly toS: number }
  readonly verdict: Verdict
  readonly latencies: readonly Latencies[]
  readonly pausesMs: readonly number[]
  readonly limitLines: readonly string[]
  /** What became of streams with short tokens; undefined without tokens. */
  readonly rightsLine: string | undefined
  readonly bins: readonly Bin[]
  readonly violations: readonly string[]
}

const ROOMS = 10
const WRITERS = 10
const BUSY_FACTOR = 10
const BIN_MS = 500

export async function holdDrill(
  drill: Drill,
  size: DrillSize,
  report: (line: string) => void
): Promise<DrillResult> {
  let runs: ClusterRuns | undefined
  let moved: Samples | undefined
  const options: TrialOptions = {
    ...trialSize(size),
    excused: drill.excused,
    report,
    faults: async trial => {
      runs = new ClusterRuns(trial.world)
      const stop = await watchSlots(trial.world.operator)
      try {
        await drill.perform(trial, runs)
      } finally {
        moved = stop()
      }
    }
  }
  return await Trial.hold(options, (trial, verdict) => {
    const { startMs } = trial.times
    const phases = phasesOf(trial)
    const [before, during, after] = phases
    const moving = moved === undefined || !drill.isSmooth ? undefined : movingPhase(moved)
    const limits =
      before !== undefined && during !== undefined && after !== undefined && moving !== undefined
        ? judgeLimits(trial, [before, during, after], moving)
        : { lines: [], violations: [] }
    const seconds = (atMs: number): number => (atMs - startMs) / 1000
    return {
      drill,
      size,
      runs: runs?.all ?? [],
      deeds: trial.world.deeds.map(({ atMs, text }) => ({ atS: seconds(atMs), text })),
      span: { fromS: seconds(trial.times.faultsMs), toS: seconds(trial.times.healedMs) },
      verdict,
      latencies: [before, during, moving, after].flatMap(phase =>
        phase === undefined ? [] : latenciesOf(trial, phase)
      ),
      pausesMs:
        during === undefined
          ? []
          : trial.recorders.map(({ record }) =>
              record.longestPauseMs(during.fromMs, during.toMs, { lag: trial.lag })
            ),
      limitLines: limits.lines,
      rightsLine: trial.expiring?.text,
      bins: binsOf(trial, moved),
      violations: [...verdict.violations, ...limits.violations]
    }
  })
}

function trialSize({
  seed,
  rate,
  readers,
  quietMs,
  history,
  hasRights = false
}: DrillSize): Pick<
  TrialOptions,
  'seed' | 'rooms' | 'writers' | 'readers' | 'messages' | 'quietMs' | 'history' | 'hasRights'
> {
  const rooms = [ROOM, ...Array.from({ length: ROOMS - 1 }, (_, index) => `room${124 + index}`)]
  const others = Array.from({ length: WRITERS - 1 }, (_, index) => ({
    user: `writer-${index + 1}`,
    rooms,
    perSecond: rate
  }))
  return {
    seed,
    rooms,
    readers,
    writers: [{ user: BUSIEST, rooms, perSecond: BUSY_FACTOR * rate }, ...others],
    messages: 0,
    quietMs,
    hasRights,
    history: { user: BUSIEST, room: ROOM, messages: history }
  }
}

function latenciesOf(trial: Trial, { name, fromMs, toMs }: Phase): Latencies[] {
  const figures = (what: Latencies['what'], samples: Samples): Latencies => {
    const values = samples.between(fromMs, toMs)
    return {
      phase: name,
      what,
      perSecond: (values.length / (toMs - fromMs)) * 1000,
      p50: percentile(values, 50),
      p99: percentile(values, 99),
      max: percentile(values, 100)
    }
  }
  return [figures('POST', trial.ledger.postMs), figures('delivery', trial.deliveryMs)]
}

/**
 * From the last look before any slot moved to the first look after the last one moved; undefined if
 * no slot moved.
 */
function movingPhase(moved: Samples): Phase | undefined {
  const looks = moved.entries()
  const first = looks.findIndex(
    ({ value }, index) => index > 0 && value !== looks[index - 1]?.value
  )
  const last = looks.findLastIndex(
    ({ value }, index) => index > 0 && value !== looks[index - 1]?.value
  )
  const [from, to] = [looks[first - 1], looks[last]]
  return from === undefined || to === undefined
    ? undefined
    : { name: 'slots move', fromMs: from.atMs, toMs: to.atMs }
}

function binsOf(
  { times: { startMs, endMs }, ledger, deliveryMs }: Trial,
  moved: Samples | undefined
): Bin[] {
  const count = Math.floor((endMs - startMs) / BIN_MS)
  const posts = ledger.postMs.bins(startMs, BIN_MS, count)
  const acknowledged = new Uint32Array(count + 1)
  for (const { outcome, answeredMs } of ledger.all) {
    const bin = Math.floor((answeredMs - startMs) / BIN_MS)
    if (outcome?.isAcknowledged === true && bin >= 0 && bin < count) acknowledged[bin]!++
  }
  const deliveries = deliveryMs.bins(startMs, BIN_MS, count)
  const slots = moved?.bins(startMs, BIN_MS, count) ?? []
  let slotsMoved = 0
  return posts.map((post, index) => {
    const delivery = deliveries[index] ?? new Float64Array()
    // Between two looks, and before the first, the number stays the same.
    slotsMoved = slots[index]?.at(-1) ?? slotsMoved
    return {
      atS: (index * BIN_MS) / 1000,
      posts: ((acknowledged[index] ?? 0) * 1000) / BIN_MS,
      deliveries: (delivery.length * 1000) / BIN_MS,
      postP99: percentile(post, 99) || 0,
      deliveryP99: percentile(delivery, 99) || 0,
      slotsMoved
    }
  })
}
