// Pages of history as frames, for readers that are further behind than a room's ring. Readers that resume at about the same place
// share a page: its start is rounded down, and a page that is being read is read once.
// Bounded: at most so many pages are read at once; who comes later waits its turn, holding nothing but its cursor.
import pLimit, { type LimitFunction } from 'p-limit'
import { type History } from '../store/history.js'
import { framesOf, type Frames } from './frame.js'

const ALIGNMENT = 128

export class Pages {
  readonly lengthMax: number
  readonly #history: History
  readonly #limit: LimitFunction
  readonly #reading = new Map<string, Promise<Frames>>()

  constructor (history: History, lengthMax: number, readsMax: number) {
    this.#history = history
    this.lengthMax = lengthMax
    this.#limit = pLimit(readsMax)
  }

  /** Reads that wait for their turn. */
  get waiting (): number {
    return this.#limit.pendingCount
  }

  /** A page that holds sequence `seq` and ends at `last` at the latest. `last` must not be beyond the head. */
  async read (room: string, seq: number, last: number): Promise<Frames> {
    const from = seq - (seq - 1) % ALIGNMENT
    const to = Math.min(from + this.lengthMax - 1, last)
    const key = `${from} ${to} ${room}`
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#limit(async () => framesOf(await this.#history.range(room, from, to))).finally(() => { this.#reading.delete(key) })
      this.#reading.set(key, reading)
    }
    return await reading
  }
}
