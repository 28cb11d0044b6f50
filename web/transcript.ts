// Which messages the page keeps: two runs of the room's order, both ascending by seq, without
// repeats, and bounded:
//
//     1 ……………………… [ shown ] ……………………… [ recent ]          a reader deep in the history
//     1 ………………………………………………… [ shown  [ recent ]]          a reader at the newest message
//
// `recent` is the newest that the stream brought, whatever is in view. `shown` is what is in view.
// While it ends with the newest message, it grows with the stream. Once it had to drop that end, it
// stays still until paging or a jump joins it to `recent` again. So a jump needs no request, and at
// no moment can a message be lost between an answer and the stream. Knows nothing of the DOM.
import { type Change } from '../src/client/dialogs.js'
import { afterChange, type Entry } from './entry.js'

export type Limits = {
  /** Entries in view for a reader in the history. */
  readonly shownMax: number
  /** Entries in view for a reader at the newest message. */
  readonly followedMax: number
  /** The newest entries, whatever is in view. */
  readonly recentMax: number
}

export class Transcript {
  readonly #limits: Limits
  #shown: Entry[] = []
  #recent: Entry[] = []

  constructor(limits: Limits) {
    this.#limits = limits
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
    const { shownMax, followedMax, recentMax } = this.#limits
    const grows = this.isAtNewest && (isFollowing || this.#shown.length < shownMax)
    if (!place(this.#recent, entry)) return false
    dropOldest(this.#recent, recentMax)
    if (grows) {
      place(this.#shown, entry)
      // Someone at the end of the list has no use for the rows far above, and each costs
      // every frame of a busy room something.
      dropOldest(this.#shown, isFollowing ? followedMax : shownMax)
    }
    return true
  }

  /** Puts a page of older messages before what is shown; the newest shown messages make room. */
  addEarlier(page: readonly Entry[]): void {
    const first = seqAt(this.#shown, 0)
    this.#shown = [...page.filter(({ seq }) => seq < first), ...this.#shown].slice(
      0,
      this.#limits.shownMax
    )
  }

  /**
   * Puts a page of newer messages after what is shown, and joins the stream where they meet; the
   * oldest shown make room.
   */
  addLater(page: readonly Entry[]): void {
    // Not beyond what the stream has brought: the stream itself brings what comes then.
    const newest = seqAt(this.#recent, -1)
    for (const entry of page) if (entry.seq <= newest) place(this.#shown, entry)
    if (seqAt(this.#shown, -1) >= seqAt(this.#recent, 0) - 1) {
      for (const entry of this.#recent) place(this.#shown, entry)
    }
    dropOldest(this.#shown, this.#limits.shownMax)
  }

  /** Shows the newest messages and nothing else. */
  jumpToNewest(): void {
    this.#shown = this.#recent.slice(-this.#limits.followedMax)
  }

  /** Shows these instead, from anywhere in the history. */
  show(page: readonly Entry[]): void {
    this.#shown = [...page]
    if (seqAt(this.#shown, -1) >= seqAt(this.#recent, 0) - 1) this.addLater(this.#recent)
  }

  /** Puts a changed message into its new form, wherever it is kept. */
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
 * Inserts in order. Refuses an entry that is already here, and one that is older than the first,
 * which was dropped.
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
 * Keeps at least the newest `max`, and at most a quarter more: shifting all of them for every new
 * one would be slow.
 */
function dropOldest(entries: Entry[], max: number): void {
  if (entries.length > max * 1.25) entries.splice(0, entries.length - max)
}
