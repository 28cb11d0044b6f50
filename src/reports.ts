// Limits repeated log lines to one per second and kind, with a count: a store that is out of reach
// must not fill the disk with a line for each refused POST. The first report of a kind is logged at
// once and in full, with its stack and causes.
import { type Logger } from 'pino'

export type Report = {
  readonly level: 'error' | 'warn'
  readonly message: string
  readonly error?: unknown
  readonly fields?: Readonly<Record<string, unknown>>
}

const INTERVAL_MS = 1000
/** Kinds counted separately at a time; all others together count as one kind. */
const KINDS_MAX = 100

export class Reports {
  readonly #log: Pick<Logger, 'error' | 'warn'>
  /** Reports of each kind since its last line. */
  readonly #kinds = new Map<string, { count: number; last: Report }>()

  constructor(log: Pick<Logger, 'error' | 'warn'>) {
    this.#log = log
  }

  /** @param kind from a small set if possible: a code, or the name of what failed */
  report(kind: string, report: Report): void {
    const known = this.#kinds.get(kind)
    if (known !== undefined) {
      known.count++
      known.last = report
    } else if (this.#kinds.size >= KINDS_MAX && kind !== 'others') {
      this.report('others', report)
    } else {
      this.#write(report, 1)
      this.#kinds.set(kind, { count: 0, last: report })
      this.#later(kind)
    }
  }

  /** Writes what is still counted, at the end of the process. */
  flush(): void {
    for (const { count, last } of this.#kinds.values()) if (count > 0) this.#write(last, count)
    this.#kinds.clear()
  }

  #later(kind: string): void {
    setTimeout(() => {
      const known = this.#kinds.get(kind)
      if (known === undefined) return
      if (known.count === 0) {
        this.#kinds.delete(kind)
        return
      }
      this.#write(known.last, known.count)
      known.count = 0
      this.#later(kind)
    }, INTERVAL_MS).unref()
  }

  #write({ level, message, error, fields }: Report, count: number): void {
    this.#log[level](
      {
        ...fields,
        ...(count > 1 ? { count } : {}),
        ...(error === undefined ? {} : { err: error })
      },
      message
    )
  }
}
