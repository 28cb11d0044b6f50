// What a change of the cluster may cost writers and readers: while slots move, the p99 of POSTs is
// at most five times that of before in the same run, and no reader waits longer than half a second.
// If the machine itself is uneven, the comparison means nothing, and the result says so. Time in
// which the machine stood still is deducted (lag.ts).
import { type Phase } from './figures.js'
import { type ReaderRecord } from './reader-record.js'
import { percentile } from './samples.js'
import { type Trial } from './trial.js'

const P99_FACTOR_MAX = 5
const PAUSE_MS_MAX = 500
/** At first connections are opened and code is compiled; that time is not judged. */
const WARM_UP_MS = 1000
/** The factor by which the two quiet phases may differ from each other. */
const UNEVEN_FACTOR_MAX = 2

/** The part of a trial that is judged. */
export type Judging = Pick<Trial, 'ledger' | 'lag'> & {
  readonly recorders: ReadonlyArray<{ readonly record: ReaderRecord }>
}

export type Limits = { readonly lines: readonly string[]; readonly violations: readonly string[] }

/** @param moving the span in which slots were moved, within `during` */
export function judgeLimits(
  trial: Judging,
  [before, during, after]: readonly [before: Phase, during: Phase, after: Phase],
  moving: Phase
): Limits {
  const judged = [judgeP99(trial, before, moving, after), judgePauses(trial, before, during)]
  return {
    lines: judged.map(({ line }) => line),
    violations: judged.flatMap(({ violation }) => violation ?? [])
  }
}

type Judged = { readonly line: string; readonly violation: string | undefined }

// The latency of a POST, minus the time in which the machine stood still. A short pause does not
// excuse a POST that hung.
function judgeP99({ ledger, lag }: Judging, before: Phase, moving: Phase, after: Phase): Judged {
  const p99 = ({ fromMs, toMs }: Phase): number =>
    percentile(
      ledger.postMs.between(fromMs, toMs, (atMs, ms) => ms - lag.overlapMs(atMs, atMs + ms)),
      99
    )
  const unevenness = p99(after) / p99(before)
  const factor = p99(moving) / p99(before)
  const isTellable = factor <= P99_FACTOR_MAX || unevenness <= UNEVEN_FACTOR_MAX
  return {
    line:
      `POST p99 while slots moved: ${p99(moving).toFixed(1)} ms, ${factor.toFixed(1)} times that before (limit ${P99_FACTOR_MAX}` +
      `${isTellable ? '' : `; not judged: afterwards, when nothing was done, it was ${unevenness.toFixed(1)} times that before as well`})`,
    violation:
      isTellable && factor > P99_FACTOR_MAX
        ? `POST p99 grew from ${p99(before).toFixed(1)} to ${p99(moving).toFixed(1)} ms`
        : undefined
  }
}

function judgePauses({ recorders, lag }: Judging, before: Phase, during: Phase): Judged {
  const longest = (fromMs: number, toMs: number, isWhole: boolean): number =>
    Math.max(
      0,
      ...recorders.map(({ record }) => record.longestPauseMs(fromMs, toMs, { isWhole, lag }))
    )
  const pauseMs = longest(during.fromMs, during.toMs, false)
  // A pause that overlaps the change may be caused by it.
  const ownPauseMs = longest(before.fromMs + WARM_UP_MS, before.toMs, true)
  const isTellable = pauseMs <= PAUSE_MS_MAX || ownPauseMs <= PAUSE_MS_MAX / 2
  return {
    line: `Longest pause of any reader: ${Math.round(pauseMs)} ms (limit ${PAUSE_MS_MAX}${isTellable ? '' : `; not judged: one of ${Math.round(ownPauseMs)} ms came before anything was done`})`,
    violation:
      isTellable && pauseMs > PAUSE_MS_MAX
        ? `a reader paused for ${Math.round(pauseMs)} ms`
        : undefined
  }
}
