// Where the reader is in the list. At the newest message, the place stays at the newest; anywhere
// else, no visible row moves. Only the person moves the place. Rows that are added, a text field
// that grows and a window that is rotated scroll the list as well, so a scroll counts as the
// person's only if the layout is still the same as at the last look.
import { type MessageRow } from './message-row.js'

// A reader this close to the end wants to be at the end: it allows for fractions of pixels and a
// half-scrolled line.
const AT_END_PX = 40
/** Rounding, and the rest of what Safari scrolls beyond the end and back. */
const HAIR_PX = 2

/** A row, and the distance of its upper edge from that of the window. */
export type ScrollPlace = { readonly seq: number; readonly topPx: number }

type Anchor = { readonly row: MessageRow; readonly topPx: number }

export class ReaderPlace {
  /** Whether the person wants to see the newest message, so that the list follows it. */
  wantsNewest = true
  readonly #scroller: HTMLElement
  readonly #rows: () => readonly MessageRow[]
  #anchor: Anchor | undefined
  #layout = ''
  /** Where the page itself has scrolled to: the scroll event that follows is not the person's. */
  #placedTop = Number.NaN
  /** Where the list was at the last look. */
  #lastTop = 0
  /** Whether the next `scrollend` is that of a scroll by the page. */
  #endsByPage = false

  /** @param rows the rows of the list, from the top */
  constructor(scroller: HTMLElement, rows: () => readonly MessageRow[]) {
    this.#scroller = scroller
    this.#rows = rows
  }

  /** The person asks for the newest message. */
  goToNewest(): void {
    this.#stop()
    this.wantsNewest = true
    this.#place(this.#scroller.scrollHeight)
  }

  /** Whether the layout differs from that at the last look. */
  get isOld(): boolean {
    return this.#currentLayout() !== this.#layout
  }

  get place(): ScrollPlace | undefined {
    return this.#anchor && { seq: this.#anchor.row.entry.seq, topPx: this.#anchor.topPx }
  }

  topOf({ element }: MessageRow): number {
    return element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top
  }

  /** By bisection, because rows are in order and there may be thousands. */
  firstVisible(): MessageRow | undefined {
    const rows = this.#rows()
    const { top } = this.#scroller.getBoundingClientRect()
    let from = 0
    let to = rows.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((rows[middle]?.element.getBoundingClientRect().bottom ?? Infinity) > top) to = middle
      else from = middle + 1
    }
    return rows[from]
  }

  /** Takes the reader's current position as the place. */
  note(): void {
    const row = this.firstVisible()
    this.#anchor = row && { row, topPx: this.topOf(row) }
    this.#layout = this.#currentLayout()
  }

  /**
   * When the person makes a row grow or shrink, it does so below its first line.
   * @param abovePx how much of the row will appear above what the person looks at
   */
  holdAt(row: MessageRow, abovePx: number): void {
    this.wantsNewest = false
    this.#anchor = { row, topPx: this.topOf(row) - abovePx }
  }

  /** Scrolls a row to this place. @param hasNewest whether the last row is the newest */
  moveTo(row: MessageRow, topPx: number, hasNewest: boolean): void {
    this.#stop()
    this.#place(this.#scroller.scrollTop + this.topOf(row) - topPx)
    this.wantsNewest = hasNewest && this.#belowPx < AT_END_PX
    this.note()
  }

  /** Scrolls the list back to where the reader was before the layout changed. */
  restore(isFollowing: boolean): void {
    this.#layout = this.#currentLayout()
    if (isFollowing) return this.#place(this.#scroller.scrollHeight)
    // The place that the person chose remains the one to return to, so that a window that is
    // rotated there and back ends where it started.
    if (this.#anchor?.row.element.isConnected !== true) this.note()
    const { row, topPx } = this.#anchor ?? {}
    const movedPx = row === undefined || topPx === undefined ? 0 : this.topOf(row) - topPx
    this.#place(this.#scroller.scrollTop + movedPx)
  }

  /** After a scroll in an unchanged layout. @param hasNewest whether the last row is the newest */
  scrolled(hasNewest: boolean): void {
    const { scrollTop } = this.#scroller
    if (scrollTop === this.#placedTop) return
    this.#placedTop = Number.NaN
    // In a busy room the next message is drawn before a slow finger has left the end.
    const isLeaving = scrollTop < this.#lastTop
    this.#lastTop = scrollTop
    // If the last row is not the newest message, the end of the list is not a place to follow from,
    // even after the rest has loaded.
    this.wantsNewest = hasNewest && this.#belowPx < (isLeaving ? HAIR_PX : AT_END_PX)
    this.note()
  }

  /** After `scrollend`. If the person has let go close to the end, they have not left it. */
  rested(hasNewest: boolean): void {
    const isByPage = this.#endsByPage
    this.#endsByPage = false
    if (isByPage || !hasNewest || this.isOld) return
    if (this.#belowPx < AT_END_PX) this.wantsNewest = true
  }

  /** How much of the list is below the window, in px. */
  get #belowPx(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller
    return scrollHeight - scrollTop - clientHeight
  }

  #place(top: number): void {
    const { scrollTop } = this.#scroller
    this.#scroller.scrollTop = top
    this.#placedTop = this.#lastTop = this.#scroller.scrollTop
    if (this.#placedTop !== scrollTop) this.#endsByPage = true
  }

  /**
   * Ends the smooth scroll that may still go on after a key or the wheel. Chromium would add the
   * rest of it to wherever the page scrolls next; only another smooth scroll takes its place.
   */
  #stop(): void {
    this.#scroller.scrollTo({ top: this.#scroller.scrollTop, behavior: 'smooth' })
  }

  #currentLayout(): string {
    const { clientWidth, clientHeight, scrollHeight } = this.#scroller
    return `${clientWidth} ${clientHeight} ${scrollHeight}`
  }
}
