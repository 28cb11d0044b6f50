// Notices when the machine itself stood still: a timer looks at the clock every 20 ms, and finds
// that much more time has passed. The timer needs nothing but the processor. The measuring process
// stood still as well, so this time must not be charged to the service. Sees only pauses of its own
// process.

/** On the clock of performance.now(). */
type Gap = { readonly fromMs: number; readonly toMs: number }

export type StoodStill = { readonly times: number; readonly ms: number }

const TICK_MS = 20
/** Shorter pauses happen all the time on a busy machine, and are not deducted. */
const GAP_MS_MIN = 100

export class Lag {
  readonly #gaps: Gap[] = []
  #lastMs = 0
  #timer: NodeJS.Timeout | undefined

  start(): this {
    this.#lastMs = performance.now()
    this.#timer = setInterval(() => {
      this.#look()
    }, TICK_MS).unref()
    return this
  }

  stop(): void {
    clearInterval(this.#timer)
    if (this.#timer !== undefined) this.#look()
    this.#timer = undefined
  }

  get stoodStill(): StoodStill {
    return {
      times: this.#gaps.length,
      ms: this.#gaps.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0)
    }
  }

  /** How many ms of a span the machine stood still: deducted when the span is judged. */
  overlapMs(fromMs: number, toMs: number): number {
    return this.#gaps.reduce(
      (sum, gap) => sum + Math.max(0, Math.min(gap.toMs, toMs) - Math.max(gap.fromMs, fromMs)),
      0
    )
  }

  #look(): void {
    const nowMs = performance.now()
    if (nowMs - this.#lastMs > GAP_MS_MIN) this.#gaps.push({ fromMs: this.#lastMs, toMs: nowMs })
    this.#lastMs = nowMs
  }
}

/** A line for the report, or none. */
export function stoodStillLines({ times, ms }: StoodStill): string[] {
  if (times === 0) return []
  return [
    `The machine itself, or the drill on it, stood still for ${Math.round(ms)} ms (${times === 1 ? 'once' : `${times} times`}): that time is deducted from what is judged.`
  ]
}
