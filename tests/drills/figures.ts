// A verdict for people to read: a table of counts, and the latencies before, during and after the
// faults.
import { count } from '../../src/cli/progress.js'
import { stoodStillLines } from './lag.js'
import { percentile } from './samples.js'
import { type Trial } from './trial.js'
import { type Verdict } from './verdict.js'

/** Aligned rows of names and values. */
export function verdictText({
  posts,
  stored,
  frames,
  resumedMs,
  stoodStill,
  violations
}: Verdict): string {
  const rows: Array<readonly [string, string]> = [
    [
      'POSTs',
      `${count(posts.sent)} sent, ${count(posts.acknowledged)} acknowledged, ${count(posts.failed)} failed, slowest answer ${Math.round(posts.answerMsMax)} ms`
    ],
    ...posts.failures.map(
      ({ what, count: times, firstMs, lastMs }) =>
        ['', `${count(times)} × ${what}, from ${seconds(firstMs)} to ${seconds(lastMs)} s`] as const
    ),
    [
      'Stored',
      `${count(stored.messages)} in ${count(stored.rooms)} rooms, of these ${count(stored.unacknowledged)} although their POST failed`
    ],
    [
      'Frames',
      `${count(frames.expected)} expected by ${count(frames.readers)} readers, ${count(frames.received)} received, ${count(frames.missing)} missing, ${count(frames.repeated)} repeated, ${count(frames.outOfOrder)} out of order, ${count(frames.different)} different, ${count(frames.resets)} resets`
    ],
    ...resumedMs.map(ms => ['Failover', `writing resumed ${Math.round(ms)} ms after it`] as const),
    ...stoodStillLines(stoodStill).map(line => ['Machine', line] as const),
    ['Promises', violations.length === 0 ? 'all kept' : 'BROKEN']
  ]
  return [
    ...rows.map(([name, value]) => `${name.padEnd(10)}${value}`),
    ...violations.map(violation => `  ${violation}`)
  ].join('\n')
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1)

/**
 * Latencies of POSTs and deliveries in the three phases of a trial, and the readers' longest
 * pauses.
 */
export function latencyText(trial: Trial): string {
  const {
    times: { startMs, endMs },
    ledger,
    deliveryMs,
    recorders
  } = trial
  const lines = phasesOf(trial).flatMap(({ name, fromMs, toMs }) => [
    latencyLine(`POST ${name}`, toMs - fromMs, ledger.postMs.between(fromMs, toMs)),
    latencyLine(`delivery ${name}`, toMs - fromMs, deliveryMs.between(fromMs, toMs))
  ])
  return [
    ...lines,
    pauseText(recorders.map(({ record }) => record.longestPauseMs(startMs, endMs)))
  ].join('\n')
}

export type Phase = { readonly name: string; readonly fromMs: number; readonly toMs: number }

/** The parts of the load before, during and after the faults; a single part if there were none. */
export function phasesOf({ times: { startMs, faultsMs, healedMs, endMs } }: Trial): Phase[] {
  if (faultsMs === 0) return [{ name: 'all', fromMs: startMs, toMs: endMs }]
  return [
    { name: 'before', fromMs: startMs, toMs: faultsMs },
    { name: 'during', fromMs: faultsMs, toMs: healedMs },
    { name: 'after', fromMs: healedMs, toMs: endMs }
  ]
}

function latencyLine(name: string, durationMs: number, values: Float64Array): string {
  const figures = [50, 90, 99, 100].map(
    percent =>
      `${percent === 100 ? 'max' : `p${percent}`} ${percentile(values, percent).toFixed(1)} ms`
  )
  return `${name.padEnd(16)}${seconds(durationMs).padStart(6)} s ${count((values.length / durationMs) * 1000).padStart(8)}/s  ${figures.join(', ')}`
}

const EDGES_MS = [50, 100, 200, 300, 500, 1000, 2000, 5000, Infinity]

/** A histogram: how long the longest pause between two messages was, and for how many readers. */
export function pauseText(pausesMs: readonly number[]): string {
  const lines = EDGES_MS.map((edge, index) => {
    const below = EDGES_MS[index - 1] ?? 0
    const readers = pausesMs.filter(pause => pause >= below && pause < edge).length
    return `  ${edge === Infinity ? `${below} ms and more` : `${below} to ${edge} ms`}: ${readers}`
  })
  return ['longest pause of each reader', ...lines.filter(line => !line.endsWith(': 0'))].join('\n')
}
