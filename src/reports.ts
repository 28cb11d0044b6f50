// What goes wrong again and again is logged once a second for each kind, with the number of times:
// a store that is away must not fill a disk with one line for each refused POST. The first of a
// kind is logged at once and whole, with its stack and its causes.
import { type Logger } from 'pino'

export type Report = {
  readonly level: 'error' | 'warn'
  readonly message: string
  readonly error?: unknown
  readonly fields?: Readonly<Record<string, unknown>>
}

const INTERVAL_MS = 1000
/** Kinds at a time. Beyond it all others count as one. */
const KINDS_MAX = 100

export class Reports {
  readonly #log: Pick<Logger, 'error' | 'warn'>
  /** What has come since the last line of each kind. */
  readonly #kinds = new Map<string, { count: number; last: Report }>()

  constructor(log: Pick<Logger, 'error' | 'warn'>) {
    this.#log = log
  }

  /** @param kind bounded in number where it can be: a code, or what failed */
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

  /** Writes what is still counted: at the end of the process. */
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
