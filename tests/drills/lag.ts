// When the machine itself stood still: a timer that looks at the clock every 20 ms, and finds that much more has passed. It writes nothing
// and waits for nothing but the processor. Who measures stood still with it, so that this much of what was measured is not the service's.
// Sees only what held up its own process.

/** On the clock of performance.now(). */
type Gap = { readonly fromMs: number, readonly toMs: number }

export type StoodStill = { readonly times: number, readonly ms: number }

const TICK_MS = 20
/** Shorter ones are what a busy machine does all the time, and are counted like everything else. */
const GAP_MS_MIN = 100

export class Lag {
  readonly #gaps: Gap[] = []
  #lastMs = 0
  #timer: NodeJS.Timeout | undefined

  start (): this {
    this.#lastMs = performance.now()
    this.#timer = setInterval(() => { this.#look() }, TICK_MS).unref()
    return this
  }

  stop (): void {
    clearInterval(this.#timer)
    if (this.#timer !== undefined) this.#look()
    this.#timer = undefined
  }

  get stoodStill (): StoodStill {
    return { times: this.#gaps.length, ms: this.#gaps.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0) }
  }

  /** How much of a span it stood still: what is to be taken off when the span is judged. */
  overlapMs (fromMs: number, toMs: number): number {
    return this.#gaps.reduce((sum, gap) => sum + Math.max(0, Math.min(gap.toMs, toMs) - Math.max(gap.fromMs, fromMs)), 0)
  }

  #look (): void {
    const nowMs = performance.now()
    if (nowMs - this.#lastMs > GAP_MS_MIN) this.#gaps.push({ fromMs: this.#lastMs, toMs: nowMs })
    this.#lastMs = nowMs
  }
}

/** What a report says of it, a line or none. */
export function stoodStillLines ({ times, ms }: StoodStill): string[] {
  if (times === 0) return []
  return [`The machine itself, or the drill on it, stood still for ${Math.round(ms)} ms (${times === 1 ? 'once' : `${times} times`}): that is taken off what is judged.`]
}
