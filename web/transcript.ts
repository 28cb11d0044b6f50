// Which messages the page holds. Two runs of the room's order, both ascending by seq, without
// repeats, and bounded:
//
//     1 ……………………… [ shown ] ……………………… [ recent ]          a reader deep in the history
//     1 ………………………………………………… [ shown  [ recent ]]          a reader at the newest message
//
// `recent` is the newest that the stream brought, whatever is looked at. `shown` is what is looked
// at. While it ends with the newest message it grows with the stream; when it had to let go of that
// end it stands still until it is joined to `recent` again, by paging later or by a jump. So a jump
// needs no request, and there is no moment at which a message could slip between an answer and the
// stream. Knows nothing of the DOM.
import { type Change } from '../src/client/dialogs.js'
import { afterChange, type Entry } from './entry.js'

export class Transcript {
  readonly #shownMax: number
  readonly #recentMax: number
  #shown: Entry[] = []
  #recent: Entry[] = []

  constructor(limits: { shownMax: number; recentMax: number }) {
    this.#shownMax = limits.shownMax
    this.#recentMax = limits.recentMax
  }

  get shown(): readonly Entry[] {
    return this.#shown
  }

  /** The newest that the stream has brought. */
  get newest(): Entry | undefined {
    return this.#recent.at(-1)
  }

  get isAtNewest(): boolean {
    return seqAt(this.#shown, -1) >= seqAt(this.#recent, -1)
  }

  /**
   * Takes an entry from the stream.
   * @param isFollowing whether the reader looks at the newest message, so that the oldest shown may
   * go to make room
   * @returns false for one that is here already
   */
  add(entry: Entry, isFollowing: boolean): boolean {
    const grows = this.isAtNewest && (isFollowing || this.#shown.length < this.#shownMax)
    if (!place(this.#recent, entry)) return false
    dropOldest(this.#recent, this.#recentMax)
    if (grows) {
      place(this.#shown, entry)
      // Someone at the end of the list has no use for the rows far above, and a flood is laid out
      // faster without them.
      dropOldest(this.#shown, isFollowing ? this.#recentMax : this.#shownMax)
    }
    return true
  }

  /** Puts a page of older messages before what is shown; the newest shown make room. */
  addEarlier(page: readonly Entry[]): void {
    const first = seqAt(this.#shown, 0)
    this.#shown = [...page.filter(({ seq }) => seq < first), ...this.#shown].slice(
      0,
      this.#shownMax
    )
  }

  /**
   * Puts a page of newer messages after what is shown, and joins the stream where they meet; the
   * oldest shown make room.
   */
  addLater(page: readonly Entry[]): void {
    // Not beyond what the stream has brought: what comes then is the stream's to bring.
    const newest = seqAt(this.#recent, -1)
    for (const entry of page) if (entry.seq <= newest) place(this.#shown, entry)
    if (seqAt(this.#shown, -1) >= seqAt(this.#recent, 0) - 1) {
      for (const entry of this.#recent) place(this.#shown, entry)
    }
    dropOldest(this.#shown, this.#shownMax)
  }

  /** Shows the newest messages and nothing else. */
  jumpToNewest(): void {
    this.#shown = [...this.#recent]
  }

  /** Shows these instead, from anywhere in the history. */
  show(page: readonly Entry[]): void {
    this.#shown = [...page]
    if (seqAt(this.#shown, -1) >= seqAt(this.#recent, 0) - 1) this.addLater(this.#recent)
  }

  /** Puts the message that was changed into its new shape, wherever it is held. */
  apply(change: Change): void {
    for (const entries of [this.#shown, this.#recent]) {
      const index = entries.findIndex(({ seq }) => seq === change.changes)
      const entry = entries[index]
      if (entry !== undefined) entries[index] = afterChange(entry, change)
    }
  }

  clear(): void {
    this.#shown = []
    this.#recent = []
  }
}

function seqAt(entries: readonly Entry[], index: 0 | -1): number {
  return entries.at(index)?.seq ?? 0
}

/**
 * Inserts in order. Refuses what is there, and what is older than the first: that was let go of.
 */
function place(entries: Entry[], entry: Entry): boolean {
  const { seq } = entry
  if (entries.length === 0 || seq > seqAt(entries, -1)) {
    entries.push(entry)
    return true
  }
  if (seq < seqAt(entries, 0)) return false
  const index = entries.findIndex(each => each.seq >= seq)
  if (entries[index]?.seq === seq) return false
  entries.splice(index, 0, entry)
  return true
}

/**
 * Keeps at least `max` of the newest, and a quarter more at most: to move all of them up for each
 * one that comes is slow.
 */
function dropOldest(entries: Entry[], max: number): void {
  if (entries.length > max * 1.25) entries.splice(0, entries.length - max)
}
