// Pages of history as frames, for readers that are further behind than a room's ring. Readers that resume at about the same place
// share a page: its start is rounded down, and a page that is being read is read once.
// A reader that takes its pages at once gets longer ones: where many users take turns, a page asks for as many blocks as it has users,
// and only a longer one has several messages of each.
// Bounded: at most so many pages are read at once; who comes later waits its turn, holding nothing but its cursor.
import pLimit, { type LimitFunction } from 'p-limit'
import { type History } from '../store/history.js'
import { framesOf, type Frames } from './frame.js'

const ALIGNMENT = 128

export class Pages {
  /** The length of a reader's first page, and of all pages of one that is slow. */
  readonly length: number
  readonly lengthMax: number
  readonly #history: History
  readonly #limit: LimitFunction
  readonly #reading = new Map<string, Promise<Frames>>()

  constructor (history: History, length: number, lengthMax: number, readsMax: number) {
    this.#history = history
    this.length = length
    this.lengthMax = lengthMax
    this.#limit = pLimit(readsMax)
  }

  /** Reads that wait for their turn. */
  get waiting (): number {
    return this.#limit.pendingCount
  }

  /** A page that holds sequence `seq` and ends at `last` at the latest. `last` must not be beyond the head. */
  async read (room: string, seq: number, last: number, length: number): Promise<Frames> {
    const from = seq - (seq - 1) % ALIGNMENT
    const to = Math.min(from + length - 1, last)
    const key = `${from} ${to} ${room}`
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#limit(async () => framesOf(await this.#history.range(room, from, to))).finally(() => { this.#reading.delete(key) })
      this.#reading.set(key, reading)
    }
    return await reading
  }
}
