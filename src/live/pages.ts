// Pages of history as frames, for readers that are further behind than a room's ring. Readers at
// about the same place share a page: pages begin at multiples of their length, concurrent reads of
// a page are one read, and a page is kept for a second. A reader that takes its pages at once gets
// longer ones: if many users take turns, a page has to look into as many blocks as there are users,
// and only a long page finds several messages in each. A slow reader gets shorter pages, because it
// reads most of them twice. Bounded: the bytes of a page (estimated from the page before), the
// bytes kept, and the pages read at the same time. A reader that waits for its turn holds nothing
// but its cursor, and the readers of one room do not wait for all those of another (fair-turns.ts).
import { FairTurns } from '../fair-turns.js'
import { LoopTurns } from '../loop-turns.js'
import { PageSizes } from '../page-sizes.js'
import { type ShardOf } from '../shares.js'
import { type History } from '../store/history.js'
import { roomSlot } from '../store/keys.js'
import { type Frames, piecesOf } from '../message/frame.js'
import { type Entry } from '../message/message.js'

/** Consecutive frames, in pieces that fit into a socket. */
export type Page = readonly Frames[]

export type PagesOptions = {
  /** Messages on a reader's first page. */
  readonly pageLength: number
  readonly pageLengthMax: number
  readonly pageBytesMax: number
  /** Bytes of pages kept for the next reader, for a second. */
  readonly pagesBytesMax: number
  readonly pageReadsMax: number
  /** Size of the pieces of a page: what a socket may hold. */
  readonly socketBytesMax: number
}

const LENGTH_MIN = 128
const KEPT_MS = 1000

export class Pages {
  readonly #history: Pick<History, 'range'>
  readonly #options: PagesOptions
  readonly #fair: FairTurns
  readonly #sizes = new PageSizes()
  readonly #turns = new LoopTurns()
  readonly #reading = new Map<string, Promise<Page>>()
  /** Oldest first. */
  readonly #kept = new Map<string, Page>()
  #keptBytes = 0

  constructor(history: Pick<History, 'range'>, options: PagesOptions, shardOf: ShardOf) {
    this.#history = history
    this.#options = options
    this.#fair = new FairTurns(options.pageReadsMax, shardOf)
  }

  /** Reads that wait for their turn. */
  get waiting(): number {
    return this.#fair.waiting
  }

  /** Messages on a reader's first page, and at most on a page that closes a gap. */
  get length(): number {
    return this.#options.pageLength
  }

  /** The length of the first page for a reader that lacks this many messages. */
  firstLength(room: string, missing: number): number {
    return missing > LENGTH_MIN ? this.#fitting(room) : LENGTH_MIN
  }

  // As long as the bytes allow. In a room of which no page was read yet, texts may have any length.
  #fitting(room: string): number {
    const { pageLength, pageBytesMax } = this.#options
    let length = this.#sizes.knows(room) ? pageLength : LENGTH_MIN
    while (length >= 2 * LENGTH_MIN && this.#sizes.expected(room, length) > pageBytesMax) {
      length = Math.floor(length / 2)
    }
    return length
  }

  /**
   * The length of the next page, which begins at `next`. `wasTaken` says whether the reader took
   * the last page at once.
   */
  lengthAfter(page: Page, length: number, next: number, wasTaken: boolean): number {
    const { pageLengthMax, pageBytesMax } = this.#options
    const frames = page.reduce((sum, { ends }) => sum + ends.length, 0)
    const bytes = (length: number): number => (length * bytesOf(page)) / frames
    // A page may grow only where a longer page begins, so that nothing is read twice.
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
   * A page that contains sequence `seq` and ends at `last` at the latest. `last` must not be beyond
   * the head. If the log turns out to be shorter, the page ends earlier and may be empty.
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
      const expected = this.#sizes.expected(room, to - from + 1)
      // The readers of a room are one client: they take turns with those of other rooms.
      reading = this.#fair
        .run({ client: room, bytes: expected, slot: roomSlot(room) }, async () => {
          const entries = await this.#history.range(room, from, to, epoch)
          const page = await this.#encode(entries)
          this.#sizes.note(room, entries.length, bytesOf(page))
          // A page that ends early, because the log was rewound or is missing for a moment, is not
          // kept.
          if (entries.at(-1)?.seq === to) this.#keep(key, page)
          return page
        })
        .finally(() => {
          this.#reading.delete(key)
        })
      this.#reading.set(key, reading)
    }
    return await reading
  }

  /**
   * The beginning of a gap, as long as a first page. Does not wait for its turn, because live
   * readers wait for it. May be empty if the log turns out to be shorter.
   * @param epoch as for `read`
   */
  async gap(room: string, epoch: number, first: number, last: number): Promise<readonly Entry[]> {
    const to = Math.min(last, first + this.#fitting(room) - 1)
    return await this.#history.range(room, first, to, epoch)
  }

  // A long page takes milliseconds, so others get the event loop after each piece.
  async #encode(entries: readonly Entry[]): Promise<Page> {
    const page: Frames[] = []
    for (const piece of piecesOf(entries, this.#options.socketBytesMax)) {
      if (page.length > 0) await this.#turns.next()
      page.push(piece)
    }
    return page
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
