// The result of a load: counts, latencies of acknowledged messages, and failures by status and
// code. Collects each message, and prints everything at the end as text or JSON.
import { build } from 'hdr-histogram-js'
import type { Fate } from './fates.js'
import type { Acknowledged, Failed } from './load.js'
import { count } from './progress.js'

type FailureKind = {
  readonly status: number | undefined
  readonly code: string
  readonly example: string
  count: number
}

/** What is known besides the messages themselves. */
export type Ending = {
  readonly sent: number
  readonly overdue: number
  readonly elapsedMs: number
  readonly isStopped: boolean
  /** The seed that draws the same users again; undefined if none were drawn. */
  readonly seed: number | undefined
}

const PERCENTILES = [50, 90, 99, 99.9] as const
const MICROSECONDS = 1000

export class Summary {
  // Microseconds, to three digits; the histogram grows as needed.
  readonly #latencies = build({ lowestDiscernibleValue: 1, numberOfSignificantValueDigits: 3 })
  readonly #failures = new Map<string, FailureKind>()
  #acknowledged = 0
  #failed = 0
  #retries = 0
  readonly #changes: Record<Fate, number> = { kept: 0, changed: 0, deleted: 0 }

  get acknowledged(): number {
    return this.#acknowledged
  }

  get failed(): number {
    return this.#failed
  }

  addAcknowledged(message: Acknowledged): void {
    this.#acknowledged++
    this.#retries += message.attempts - 1
    this.#latencies.recordValue(Math.round(message.latencyMs * MICROSECONDS))
  }

  addChange(fate: Fate): void {
    this.#changes[fate]++
  }

  addFailed(message: Failed): void {
    this.#failed++
    this.#retries += message.attempts - 1
    const name = `${message.status} ${message.code}`
    const kind = this.#failures.get(name)
    if (kind === undefined) {
      this.#failures.set(name, {
        status: message.status,
        code: message.code,
        example: message.reason,
        count: 1
      })
    } else kind.count++
  }

  toJSON(ending: Ending): object {
    const { sent, overdue, elapsedMs, isStopped, seed } = ending
    return {
      sent,
      acknowledged: this.#acknowledged,
      failed: this.#failed,
      overdue,
      retries: this.#retries,
      changed: this.#changes.changed,
      deleted: this.#changes.deleted,
      isStopped,
      elapsedMs: Math.round(elapsedMs),
      ratePerSecond: Math.round(this.#rate(elapsedMs)),
      latencyMs: Object.fromEntries(this.#percentiles()),
      failures: this.#kinds().map(({ status, code, count, example }) => ({
        status: status ?? null,
        code,
        count,
        example
      })),
      seed
    }
  }

  toText(ending: Ending): string {
    const lines = [
      `${ending.isStopped ? 'Stopped: ' : ''}${count(ending.sent)} sent, ${count(this.#acknowledged)} acknowledged, ${count(this.#failed)} failed` +
        ` in ${(ending.elapsedMs / 1000).toFixed(2)} s: ${count(this.#rate(ending.elapsedMs))} messages/s`
    ]
    if (this.#acknowledged > 0) {
      lines.push(
        `Latency: ${this.#percentiles()
          .map(([name, ms]) => `${name} ${ms} ms`)
          .join(', ')}`
      )
    }
    const { changed, deleted } = this.#changes
    if (changed + deleted > 0) {
      lines.push(`Afterwards: ${count(changed)} changed, ${count(deleted)} deleted`)
    }
    if (this.#retries > 0) {
      lines.push(`Sent again under the same key: ${count(this.#retries)} times`)
    }
    if (ending.overdue > 0) {
      lines.push(`Behind the rate: ${count(ending.overdue)} messages were due and not sent`)
    }
    for (const { status, code, count: times, example } of this.#kinds()) {
      lines.push(
        `Failed: ${count(times)} × ${status === undefined ? '' : `${status} `}${code}, for example: ${example}`
      )
    }
    if (ending.seed !== undefined) lines.push(`Users drawn with --seed ${ending.seed}`)
    return lines.join('\n')
  }

  #rate(elapsedMs: number): number {
    return (this.#acknowledged / Math.max(1, elapsedMs)) * 1000
  }

  #percentiles(): Array<readonly [string, number]> {
    const max = this.#latencies.maxValue
    // A percentile is the upper edge of its bucket, which can be above the maximum.
    const latencies = PERCENTILES.map(
      percentile =>
        [
          `p${percentile}`,
          Math.min(max, this.#latencies.getValueAtPercentile(percentile)) / MICROSECONDS
        ] as const
    )
    return [...latencies, ['max', max / MICROSECONDS]]
  }

  // The most frequent first.
  #kinds(): FailureKind[] {
    return [...this.#failures.values()].sort((a, b) => b.count - a.count)
  }
}
