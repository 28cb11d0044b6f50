// Pages of history as frames, for readers that are further behind than a room's ring. Readers at
// about the same place share a page. Pages begin at multiples of their length, a page that is being
// read is read once, and a page that has been read is kept for a second. A reader that takes its
// pages at once gets longer ones: where many users take turns, a page asks for as many blocks as it
// has users, and only a long page has several messages of each. A slow reader gets shorter pages,
// because it reads most of them twice. Bounded: the bytes of a page (estimated from the page
// before), the bytes that are kept, and the pages that are read at once. A reader that has to wait
// for its turn holds nothing but its cursor.
import pLimit, { type LimitFunction } from 'p-limit'
import { type History } from '../store/history.js'
import { type Frames, piecesOf } from '../message/frame.js'

/** Frames that follow each other, in pieces that a socket may hold. */
export type Page = readonly Frames[]

export type PagesOptions = {
  /** Messages on a reader's first page. */
  readonly pageLength: number
  readonly pageLengthMax: number
  readonly pageBytesMax: number
  /** Bytes of pages that are kept for the next reader, for a second. */
  readonly pagesBytesMax: number
  readonly pageReadsMax: number
  /** Pages come in pieces of this size, because a socket holds no more. */
  readonly socketBytesMax: number
}

const LENGTH_MIN = 128
const KEPT_MS = 1000

export class Pages {
  readonly #history: Pick<History, 'range'>
  readonly #options: PagesOptions
  readonly #limit: LimitFunction
  readonly #reading = new Map<string, Promise<Page>>()
  /** Oldest first. */
  readonly #kept = new Map<string, Page>()
  #keptBytes = 0

  constructor(history: Pick<History, 'range'>, options: PagesOptions) {
    this.#history = history
    this.#options = options
    this.#limit = pLimit(options.pageReadsMax)
  }

  /** Reads that wait for their turn. */
  get waiting(): number {
    return this.#limit.pendingCount
  }

  /** The length of a page for the gaps of a room. */
  get length(): number {
    return this.#options.pageLength
  }

  /** The length of the first page of a reader that lacks so many messages. */
  firstLength(missing: number): number {
    return missing > LENGTH_MIN ? this.#options.pageLength : LENGTH_MIN
  }

  /**
   * The length of the next page, which begins at `next`, for a reader that took this page at once
   * or did not.
   */
  lengthAfter(page: Page, length: number, next: number, wasTaken: boolean): number {
    const { pageLengthMax, pageBytesMax } = this.#options
    const frames = page.reduce((sum, { ends }) => sum + ends.length, 0)
    const bytes = (length: number): number => (length * bytesOf(page)) / frames
    // Only where a longer page begins, so that nothing is read twice.
    if (
      wasTaken &&
      (next - 1) % (2 * length) === 0 &&
      2 * length <= pageLengthMax &&
      bytes(2 * length) <= pageBytesMax
    ) {
      return 2 * length
    }
    return (!wasTaken || bytes(length) > pageBytesMax) && length >= 2 * LENGTH_MIN
      ? Math.floor(length / 2)
      : length
  }

  /**
   * A page that holds sequence `seq` and ends at `last` at the latest. `last` must not be beyond
   * the head. If the log turns out to be shorter, the page ends earlier, and may be empty.
   * @param epoch the room's epoch: pages of different epochs are never mixed
   */
  async read(
    room: string,
    epoch: number,
    seq: number,
    last: number,
    length: number
  ): Promise<Page> {
    const from = seq - ((seq - 1) % length)
    const to = Math.min(from + length - 1, last)
    const key = `${epoch} ${from} ${to} ${room}`
    const kept = this.#kept.get(key)
    if (kept !== undefined) return kept
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#limit(async () => {
        const entries = await this.#history.range(room, from, to, epoch)
        const page = piecesOf(entries, this.#options.socketBytesMax)
        // A page that ends too early, because the log was rewound or is gone for a moment, must be
        // read again.
        if (entries.at(-1)?.seq === to) this.#keep(key, page)
        return page
      }).finally(() => {
        this.#reading.delete(key)
      })
      this.#reading.set(key, reading)
    }
    return await reading
  }

  #keep(key: string, page: Page): void {
    this.#kept.set(key, page)
    this.#keptBytes += bytesOf(page)
    for (const key of this.#kept.keys()) {
      if (this.#keptBytes <= this.#options.pagesBytesMax) break
      this.#forget(key)
    }
    setTimeout(() => {
      this.#forget(key)
    }, KEPT_MS).unref()
  }

  #forget(key: string): void {
    this.#keptBytes -= bytesOf(this.#kept.get(key) ?? [])
    this.#kept.delete(key)
  }
}

const bytesOf = (page: Page): number => page.reduce((sum, { bytes }) => sum + bytes.length, 0)
