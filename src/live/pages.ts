// Pages of history as frames, for readers that are further behind than a room's ring.
// Readers at about the same place share a page: pages begin at multiples of their length, one that is being read is read once, and one that
// has been read is kept for a moment.
// A reader that takes its pages at once gets longer ones: where many users take turns, a page asks for as many blocks as it has users,
// and only a longer one has several messages of each. One that is slow gets shorter ones, for it reads most of them twice.
// Bounded: a page has about so many bytes, judged by the one before it; so many bytes are kept, and at most so many pages are read at once:
// who comes later waits its turn, holding nothing but its cursor.
import pLimit, { type LimitFunction } from 'p-limit'
import { type History } from '../store/history.js'
import { type Frames, piecesOf } from '../message/frame.js'

/** Frames that follow each other, in pieces that a socket may hold. */
export type Page = readonly Frames[]

export type PagesOptions = {
  /** Messages on a reader's first page. */
  readonly length: number
  readonly lengthMax: number
  readonly bytesMax: number
  readonly pieceBytesMax: number
  /** Bytes of pages that are kept for the next reader, for a second. */
  readonly keptBytesMax: number
  readonly readsMax: number
}

const LENGTH_MIN = 128
const KEPT_MS = 1000

export class Pages {
  readonly #history: History
  readonly #options: PagesOptions
  readonly #limit: LimitFunction
  readonly #reading = new Map<string, Promise<Page>>()
  /** Oldest first. */
  readonly #kept = new Map<string, Page>()
  #keptBytes = 0

  constructor (history: History, options: PagesOptions) {
    this.#history = history
    this.#options = options
    this.#limit = pLimit(options.readsMax)
  }

  /** Reads that wait for their turn. */
  get waiting (): number {
    return this.#limit.pendingCount
  }

  /** The length of a page for the gaps of a room. */
  get length (): number {
    return this.#options.length
  }

  /** The length of the first page of a reader that lacks so many messages. */
  firstLength (missing: number): number {
    return missing > LENGTH_MIN ? this.#options.length : LENGTH_MIN
  }

  /** The length of the page from `next` on, for a reader that took this one at once, or did not. */
  lengthAfter (page: Page, length: number, next: number, wasTaken: boolean): number {
    const { lengthMax, bytesMax } = this.#options
    const frames = page.reduce((sum, { ends }) => sum + ends.length, 0)
    const bytes = (length: number): number => length * bytesOf(page) / frames
    // Only where a longer page begins: nothing is read twice.
    if (wasTaken && (next - 1) % (2 * length) === 0 && 2 * length <= lengthMax && bytes(2 * length) <= bytesMax) return 2 * length
    return (!wasTaken || bytes(length) > bytesMax) && length >= 2 * LENGTH_MIN ? Math.floor(length / 2) : length
  }

  /**
   * A page that holds sequence `seq` and ends at `last` at the latest. `last` must not be beyond the head; where the log turns out to be
   * shorter the page ends earlier, and may be empty.
   * @param past what the room's log is known to be: pages of another one are not mixed with these
   */
  async read (room: string, past: number, seq: number, last: number, length: number): Promise<Page> {
    const from = seq - (seq - 1) % length
    const to = Math.min(from + length - 1, last)
    const key = `${past} ${from} ${to} ${room}`
    const kept = this.#kept.get(key)
    if (kept !== undefined) return kept
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#limit(async () => {
        const entries = await this.#history.range(room, from, to, past)
        const page = piecesOf(entries, this.#options.pieceBytesMax)
        // One that ends too early, of a log that is rewound or gone for a moment, must be read again.
        if (entries.at(-1)?.seq === to) this.#keep(key, page)
        return page
      }).finally(() => { this.#reading.delete(key) })
      this.#reading.set(key, reading)
    }
    return await reading
  }

  #keep (key: string, page: Page): void {
    this.#kept.set(key, page)
    this.#keptBytes += bytesOf(page)
    for (const key of this.#kept.keys()) {
      if (this.#keptBytes <= this.#options.keptBytesMax) break
      this.#forget(key)
    }
    setTimeout(() => { this.#forget(key) }, KEPT_MS).unref()
  }

  #forget (key: string): void {
    this.#keptBytes -= bytesOf(this.#kept.get(key) ?? [])
    this.#kept.delete(key)
  }
}

const bytesOf = (page: Page): number => page.reduce((sum, { bytes }) => sum + bytes.length, 0)
