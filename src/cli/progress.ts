// Shows the progress of a long command: a bar on a terminal, otherwise one plain line per second
// (for logs and CI). Commands update the numbers as often as they like; it draws on its own timer.
// It writes to stderr, so that stdout has only the result.
import { SingleBar } from 'cli-progress'

export type ProgressOptions = {
  /** What is counted, in the plural: `messages`. */
  readonly unit: string
  /** The total, if known. */
  readonly total?: number | undefined
  /**
   * The time limit. If there is a total as well, the one that is closer to its end is shown. With
   * neither, it only counts.
   */
  readonly durationMs?: number | undefined
  readonly output?: NodeJS.WriteStream | undefined
}

const BAR_INTERVAL_MS = 100
const LINE_INTERVAL_MS = 1000
// The rate covers the last second or more, so that it follows changes.
const RATE_WINDOW_MS = 1000
// cli-progress has a value and a total. Here they may be a time, so it gets thousandths.
const BAR_STEPS = 1000

export class Progress {
  readonly #options: ProgressOptions
  readonly #output: NodeJS.WriteStream
  readonly #bar: SingleBar | undefined
  readonly #timer: NodeJS.Timeout
  readonly #startedMs = performance.now()
  #done = 0
  #errors = 0
  #mark = { ms: this.#startedMs, done: 0 }
  #markBefore = this.#mark

  /** Draws until `stop`. */
  constructor(options: ProgressOptions) {
    this.#options = options
    this.#output = options.output ?? process.stderr
    if (this.#output.isTTY) {
      // The command itself handles signals.
      this.#bar = new SingleBar({
        format: '{bar} {text}',
        barsize: 24,
        barCompleteChar: '█',
        barIncompleteChar: '░',
        hideCursor: true,
        forceRedraw: true,
        stream: this.#output,
        gracefulExit: false
      })
      this.#bar.start(BAR_STEPS, 0, { text: '' })
    }
    this.#timer = setInterval(
      () => {
        this.#draw()
      },
      this.#bar === undefined ? LINE_INTERVAL_MS : BAR_INTERVAL_MS
    )
    this.#timer.unref()
  }

  /** Sets both totals so far. Cheap: it only stores them. */
  update(done: number, errors = 0): void {
    this.#done = done
    this.#errors = errors
  }

  /** Prints a line; a bar continues below it. */
  print(line: string): void {
    this.#output.write(this.#bar === undefined ? `${line}\n` : `\r\x1b[K${line}\n`)
    this.#draw()
  }

  /** Draws the last state and releases the terminal. */
  stop(): void {
    clearInterval(this.#timer)
    this.#draw()
    this.#bar?.stop()
  }

  #draw(): void {
    const now = performance.now()
    const fraction = this.#fraction(now)
    const text = this.#text(now, fraction)
    if (this.#bar === undefined) this.#output.write(`${text}\n`)
    else this.#bar.update((fraction ?? 0) * BAR_STEPS, { text })
  }

  #fraction(now: number): number | undefined {
    const { total, durationMs } = this.#options
    if (total === undefined && durationMs === undefined) return undefined
    // A total of 0 is reached at once.
    const ofTotal = total === undefined ? 0 : total === 0 ? 1 : this.#done / total
    const ofTime = durationMs === undefined ? 0 : (now - this.#startedMs) / durationMs
    return Math.min(1, Math.max(ofTotal, ofTime))
  }

  // `42 %  2,100 of 5,000 messages  1,234/s  0 errors  3 s left`
  #text(now: number, fraction: number | undefined): string {
    const { unit, total } = this.#options
    const parts = [
      `${count(this.#done)}${total === undefined ? '' : ` of ${count(total)}`} ${unit}`,
      `${count(this.#rate(now))}/s`,
      `${count(this.#errors)} errors`
    ]
    if (fraction !== undefined) {
      parts.unshift(
        `${Math.floor(fraction * 100)
          .toString()
          .padStart(3)} %`
      )
    }
    if (fraction !== undefined && fraction > 0 && fraction < 1) {
      parts.push(`${time((now - this.#startedMs) * (1 / fraction - 1))} left`)
    }
    return parts.join('  ')
  }

  // Messages per second since the mark before the last: a window of one to two seconds.
  #rate(now: number): number {
    if (now - this.#mark.ms >= RATE_WINDOW_MS) {
      this.#markBefore = this.#mark
      this.#mark = { ms: now, done: this.#done }
    }
    return ((this.#done - this.#markBefore.done) / Math.max(1, now - this.#markBefore.ms)) * 1000
  }
}

/** `12,345` */
export const count = (value: number): string => Math.round(value).toLocaleString('en-US')

/** `1 room`, `12,345 rooms` */
export const counted = (value: number, noun: string): string =>
  `${count(value)} ${noun}${value === 1 ? '' : 's'}`

/** `3 s`, `2 min 5 s`, `1 h 10 min` */
export function time(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}
