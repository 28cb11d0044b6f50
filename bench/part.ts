// A part of the benchmarks, and its tools: how much to measure, what to start, and how to report
// progress. Invariant: everything that a part starts through its tools is stopped when the part
// ends or fails, in reverse order.
import { Progress } from '../src/cli/progress.js'
import { type Table } from './table.js'
import { type Dialogs } from './targets/dialogs.js'
import { startNchan } from './targets/nchan.js'
import { isMissing, type Missing, type Target } from './targets/target.js'

/** How much a part measures. */
export type Scale = {
  readonly rounds: number
  /** The length of each measurement, for parts that measure over time. */
  readonly seconds: number
  /** A short run only proves that the benchmark works. Its figures mean nothing. */
  readonly isShort: boolean
  /** Also measures what takes many minutes. */
  readonly isFull: boolean
}

/**
 * The costs of one message or delivery, by name. model.ts computes from them what a cluster can
 * carry.
 */
export type Costs = Readonly<Record<string, number>>

export type PartResult = { readonly tables: readonly Table[]; readonly costs?: Costs }

export type Part = {
  readonly name: string
  readonly about: string
  /** The default; the command line may say otherwise. */
  readonly rounds: number
  readonly seconds: number
  readonly run: (bench: Bench) => Promise<PartResult>
}

/** Something to measure, once in each round. */
export type Case<T> = { readonly name: string; readonly measure: (round: number) => Promise<T> }

type Stoppable = { stop: () => Promise<unknown> }

export class Bench {
  readonly scale: Scale
  readonly #part: string
  readonly #dialogs: (services: number) => Promise<Dialogs>
  readonly #kept: Array<() => Promise<unknown>> = []
  #progress: Progress | undefined

  /**
   * @param dialogs starts the service with a cluster of its own. In a short run one service serves
   * all parts, because a start takes 3 s
   */
  constructor(part: string, scale: Scale, dialogs: (services: number) => Promise<Dialogs>) {
    this.#part = part
    this.scale = scale
    this.#dialogs = dialogs
  }

  /** Chooses between the number for a real run and the one for a short run. */
  size(real: number, short: number): number {
    return this.scale.isShort ? short : real
  }

  /** The service, with one process or more, and its cluster. */
  async dialogs(services = 1): Promise<Dialogs> {
    this.say('starting the service and a cluster')
    const isShared = this.scale.isShort && services === 1
    return isShared ? await this.#dialogs(1) : await this.keep(this.#dialogs(services))
  }

  /** Nchan on the same cluster, if it is or can be installed. A short run installs nothing. */
  async nchan(dialogs: Dialogs): Promise<Target | Missing> {
    const nchan = await startNchan(dialogs.redisUrls, !this.scale.isShort)
    return isMissing(nchan) ? nchan : await this.keep(nchan)
  }

  /** Waits until something has started, and stops it at the end of the part. */
  async keep<T extends Stoppable>(starting: T | Promise<T>): Promise<T> {
    const started = await starting
    this.#kept.push(() => started.stop())
    return started
  }

  async close(): Promise<void> {
    this.#progress?.stop()
    for (const stop of this.#kept.splice(0).reverse()) await stop()
  }

  /** A line on stderr, above the progress display. */
  say(line: string): void {
    const text = `${this.#part}: ${line}`
    if (this.#progress === undefined) process.stderr.write(`${text}\n`)
    else this.#progress.print(text)
  }

  /** Shows progress while `work` runs. `work` reports how much of `total` is done. */
  async showing<T>(
    unit: string,
    total: number,
    work: (update: (done: number) => void) => Promise<T>
  ): Promise<T> {
    const progress = (this.#progress = new Progress({ unit, total }))
    try {
      return await work(done => {
        progress.update(done)
      })
    } finally {
      this.#progress = undefined
      progress.stop()
    }
  }

  /**
   * Measures every case in every round. The order rotates by one each round, so that no case always
   * follows the same other one.
   * @returns the samples of each case, round by round
   */
  async interleave<T>(cases: ReadonlyArray<Case<T>>): Promise<Map<string, T[]>> {
    const { rounds } = this.scale
    const samples = new Map<string, T[]>(cases.map(({ name }) => [name, []]))
    await this.showing('measurements', rounds * cases.length, async update => {
      let done = 0
      for (let round = 0; round < rounds; round++) {
        const first = round % cases.length
        for (const { name, measure } of [...cases.slice(first), ...cases.slice(0, first)]) {
          this.say(`round ${round + 1} of ${rounds}, ${name}`)
          samples.get(name)?.push(await measure(round))
          update(++done)
        }
      }
    })
    return samples
  }
}
