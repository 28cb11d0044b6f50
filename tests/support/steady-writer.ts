// Writes while slots move: appends to one key after the other through the service's own cluster
// client, and remembers what was acknowledged. Its keys are streams in slots all over the cluster.
import type { Test } from 'tap'
import { type Cluster } from '../../src/redis/cluster.js'
import { slotOf } from '../../src/redis/slots.js'

export class SteadyWriter {
  readonly failures: unknown[] = []
  readonly #cluster: Cluster
  readonly #streams = new Map<string, number>()
  readonly #tag: string
  #isStopped = false
  #running: Promise<unknown> = Promise.resolve()
  #written = 0

  /** @param streams how many keys it writes to, in turn */
  constructor(t: Test, cluster: Cluster, streams = 200) {
    this.#cluster = cluster
    this.#tag = Math.random().toString(36).slice(2, 8)
    for (let index = 0; index < streams; index++) {
      this.#streams.set(`room.{${this.#tag}-${index}}`, 0)
    }
    t.teardown(() => this.stop())
  }

  get written(): number {
    return this.#written
  }

  get keys(): string[] {
    return [...this.#streams.keys()]
  }

  /** Writes four at a time, without pause, until `stop`. */
  start(): this {
    const keys = this.keys
    this.#running = Promise.all(
      [0, 1, 2, 3].map(async lane => {
        for (let index = lane; !this.#isStopped; index += 4) {
          await this.#append(keys[index % keys.length] ?? '')
        }
      })
    )
    return this
  }

  /** Appends once to every key. */
  async fill(): Promise<this> {
    await Promise.all(this.keys.map(key => this.#append(key)))
    return this
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  /**
   * Compares with what was acknowledged: a line for each key with lost, repeated or wrong entries.
   */
  async faults(): Promise<string[]> {
    const checked = await Promise.all(
      [...this.#streams].map(async ([key, length]) => {
        // Entries of id and fields.
        const entries = (await this.#cluster.read(slotOf(key), [
          'XRANGE',
          key,
          '-',
          '+'
        ])) as ReadonlyArray<readonly [string, readonly string[]]>
        const numbers = entries.map(([, fields]) => Number(fields[1]))
        return numbers.length === length && numbers.every((number, index) => number === index + 1)
          ? []
          : [`${key}: ${length} written, found ${numbers.join(' ')}`]
      })
    )
    return checked.flat()
  }

  // A lane has every fourth key to itself, so a key's entries are numbered in order. A write whose
  // connection broke is repeated, here or in the cluster client. If its id is then taken, the first
  // attempt was stored.
  async #append(key: string): Promise<void> {
    const number = (this.#streams.get(key) ?? 0) + 1
    for (let attempt = 1; ; attempt++) {
      try {
        const { replicated } = await this.#cluster.write(slotOf(key), [
          'XADD',
          key,
          `0-${number}`,
          'n',
          String(number)
        ])
        await replicated
        break
      } catch (error) {
        if (isTaken(error)) break
        if (attempt < ATTEMPTS_MAX) continue
        this.failures.push(error)
        return
      }
    }
    this.#streams.set(key, number)
    this.#written++
  }
}

const ATTEMPTS_MAX = 3

const isTaken = (error: unknown): boolean =>
  error instanceof Error && String(error.cause).includes('equal or smaller')
