// What a part of the benchmarks is, and what it is given to work with: how much to do, what it has started, and how to say how far it
// has come. Invariant: everything that a part keeps here is stopped when it ends, also when it fails, last started first.
import { Progress } from '../src/cli/progress.js'
import { type Table } from './table.js'
import { type Dialogs } from './targets/dialogs.js'
import { startNchan } from './targets/nchan.js'
import { isMissing, type Missing, type Target } from './targets/target.js'

/** How much a part does. */
export type Scale = {
  readonly rounds: number
  /** Of each measurement, where a measurement takes a time. */
  readonly seconds: number
  /** Only proves that it works: few of everything, no figure means anything. */
  readonly isShort: boolean
  /** Also what takes many minutes. */
  readonly isFull: boolean
}

/** What one message or delivery costs, by name; model.ts computes from them what a cluster carries. */
export type Costs = Readonly<Record<string, number>>

export type PartResult = { readonly tables: readonly Table[], readonly costs?: Costs }

export type Part = {
  readonly name: string
  readonly about: string
  /** Unless the command's line says otherwise. */
  readonly rounds: number
  readonly seconds: number
  readonly run: (bench: Bench) => Promise<PartResult>
}

/** Something to measure, once in each round. */
export type Case<T> = { readonly name: string, readonly measure: (round: number) => Promise<T> }

type Stoppable = { stop: () => Promise<unknown> }

export class Bench {
  readonly scale: Scale
  readonly #part: string
  readonly #dialogs: () => Promise<Dialogs>
  readonly #kept: Array<() => Promise<unknown>> = []
  #progress: Progress | undefined

  /** @param dialogs starts the service with a cluster of its own; in a short run one serves all parts, for it takes 3 s to make */
  constructor (part: string, scale: Scale, dialogs: () => Promise<Dialogs>) {
    this.#part = part
    this.scale = scale
    this.#dialogs = dialogs
  }

  /** One number for a real run, another for one that only proves that it works. */
  size (real: number, short: number): number {
    return this.scale.isShort ? short : real
  }

  /** The service and its cluster. */
  async dialogs (): Promise<Dialogs> {
    this.say('starting the service and a cluster')
    return this.scale.isShort ? await this.#dialogs() : await this.keep(this.#dialogs())
  }

  /** Nchan on the same cluster, where it is or can be installed. A short run installs nothing. */
  async nchan (dialogs: Dialogs): Promise<Target | Missing> {
    const nchan = await startNchan(dialogs.redisUrls, !this.scale.isShort)
    return isMissing(nchan) ? nchan : await this.keep(nchan)
  }

  /** Waits for something that starts, and stops it at the end. */
  async keep<T extends Stoppable> (starting: T | Promise<T>): Promise<T> {
    const started = await starting
    this.#kept.push(() => started.stop())
    return started
  }

  async close (): Promise<void> {
    this.#progress?.stop()
    for (const stop of this.#kept.splice(0).reverse()) await stop()
  }

  /** A line on stderr, above the progress display. */
  say (line: string): void {
    const text = `${this.#part}: ${line}`
    if (this.#progress === undefined) process.stderr.write(`${text}\n`)
    else this.#progress.print(text)
  }

  /** Shows progress while `work` runs, which tells how much of `total` is done. */
  async showing<T> (unit: string, total: number, work: (update: (done: number) => void) => Promise<T>): Promise<T> {
    const progress = this.#progress = new Progress({ unit, total })
    try {
      return await work(done => { progress.update(done) })
    } finally {
      this.#progress = undefined
      progress.stop()
    }
  }

  /**
   * Measures every case in every round. The order turns by one each round, so that none always comes after the same other.
   * @returns the samples of each case, round by round
   */
  async interleave<T> (cases: ReadonlyArray<Case<T>>): Promise<Map<string, T[]>> {
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
