// One run of a plan on virtual time, from the first command to the result. Synchronous.
import { within } from './globals.js'
import { type Plan, planOf } from './plan.js'
import { Random } from './random.js'
import { playEpilogue } from './epilogue.js'
import { RetentionModel } from './retention-model.js'
import { hasAgreed, isSettled, whatIsLeft } from './settling.js'
import { World } from './world.js'

export type Outcome = {
  readonly plan: Plan
  readonly violation: string | undefined
  readonly trace: readonly string[]
  readonly digest: string
  readonly steps: number
  readonly virtualMs: number
}

/** Within this virtual time after the last fault, everybody is live and every POST is answered. */
export const SETTLE_MS_MAX = 60_000
const LOOK_MS = 50
/**
 * Within this time a message reaches everybody when all is quiet. So much, because a reader may
 * wait for a text that is lost.
 */
const EPILOGUE_MS_MAX = 15_000
/** How long everybody's dialogs may take to be read; mostly a few ms. */
const COMPARE_MS_MAX = 10_000
export const STEPS_MAX = 2_000_000

export function runSeed(seed: string | number, stepsMax = STEPS_MAX): Outcome {
  return runPlan(planOf(seed, new Random(`plan ${seed}`)), stepsMax)
}

export function runPlan(plan: Plan, stepsMax = STEPS_MAX): Outcome {
  const world = new World(plan, new Random(`run ${plan.seed}`))
  const { time, oracle, trace } = world
  const connect = (host: string, port: number): ReturnType<typeof world.network.connect> =>
    world.network.connect(host, port)
  // Looks every 50 ms whether something is so. @returns whether it is, within this time
  const advance = (isDone: () => boolean, msMax = SETTLE_MS_MAX): boolean => {
    for (let looks = msMax / LOOK_MS; looks > 0 && !isDone(); looks--) {
      time.run(time.now + LOOK_MS, stepsMax, () => oracle.found !== undefined)
    }
    return isDone()
  }
  within({ time, connect }, () => {
    world.begin()
    try {
      for (let until = LOOK_MS; oracle.found === undefined && !isSettled(world); until += LOOK_MS) {
        time.run(until, stepsMax, () => oracle.found !== undefined)
        if (until > plan.calmAt + SETTLE_MS_MAX) {
          oracle.violation(`${SETTLE_MS_MAX} ms after the last fault: ${whatIsLeft(world)}`)
        }
      }
      // Watches once more what happens when everything is quiet.
      time.run(time.now + plan.quietMs, stepsMax, () => oracle.found !== undefined)
      world.dialogs.compare()
      time.run(time.now + COMPARE_MS_MAX, stepsMax, () => world.dialogs.isCompared)
      if (!world.dialogs.isCompared) oracle.violation('the dialogs of a user are not answered')
      // A write whose client has gone may be committed this late, and readers may be slow.
      advance(() => hasAgreed(world))
      if (oracle.found === undefined) {
        playEpilogue(world, isDone => advance(isDone, EPILOGUE_MS_MAX))
      }
      world.lookAgain()
      advance(() => world.dialogs.disagreementAfterLook === undefined)
      const { disagreementAfterLook } = world.dialogs
      if (disagreementAfterLook !== undefined) {
        oracle.violation(`after a look: ${disagreementAfterLook}`)
      }
      if (oracle.found === undefined) oracle.judge()
      if (oracle.found === undefined && plan.retention !== undefined) {
        const { days, posts } = plan.retention
        new RetentionModel(world, days, posts, isDone => advance(isDone)).run()
      }
    } catch (error) {
      oracle.violation(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  })
  return {
    plan,
    violation: oracle.found,
    trace: trace.lines,
    digest: trace.digest,
    steps: time.steps,
    virtualMs: time.now
  }
}
