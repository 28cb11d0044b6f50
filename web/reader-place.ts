// Where the reader is in the list. At the newest message, the place stays at the newest; anywhere
// else, no visible row moves. Only the person moves the place. Rows that are added, a text field
// that grows and a window that is rotated scroll the list as well, so a scroll counts as the
// person's only if the layout is still the same as at the last look.
import { type MessageRow } from './message-row.js'

// A reader this close to the end wants to be at the end: it allows for fractions of pixels and a
// half-scrolled line.
const AT_END_PX = 40

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
  /** Where `restore` has scrolled to: the scroll event that follows is not the person's. */
  #placedTop = Number.NaN
  /** Whether a scroll of the person's may still go on, although they have asked for the newest. */
  #isOverruled = false

  /** @param rows the rows of the list, from the top */
  constructor(scroller: HTMLElement, rows: () => readonly MessageRow[]) {
    this.#scroller = scroller
    this.#rows = rows
    // A smooth scroll that a key or a wheel has started goes on even after the page has scrolled
    // elsewhere. It is over when it says so, or when the person does something else.
    for (const type of ['scrollend', 'wheel', 'keydown', 'pointerdown', 'touchstart'] as const) {
      scroller.addEventListener(type, () => (this.#isOverruled = false), { passive: true })
    }
  }

  /** The person asks for the newest message, perhaps while the list is still moving elsewhere. */
  goToNewest(): void {
    this.wantsNewest = true
    this.#isOverruled = true
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

  /** When the person makes a row grow or shrink, it does so below its first line. */
  holdAt(row: MessageRow): void {
    this.wantsNewest = false
    this.#anchor = { row, topPx: this.topOf(row) }
  }

  /** Scrolls a row to this place. */
  moveTo(row: MessageRow, topPx: number): void {
    this.wantsNewest = false
    this.#scroller.scrollTop += this.topOf(row) - topPx
    this.note()
  }

  /** Scrolls the list back to where the reader was before the layout changed. */
  restore(isFollowing: boolean): void {
    this.#layout = this.#currentLayout()
    if (isFollowing) this.#scroller.scrollTop = this.#scroller.scrollHeight
    // The place that the person chose remains the one to return to, so that a window that is
    // rotated there and back ends where it started.
    else if (this.#anchor?.row.element.isConnected === true) {
      this.#scroller.scrollTop += this.topOf(this.#anchor.row) - this.#anchor.topPx
    } else this.note()
    this.#placedTop = this.#scroller.scrollTop
  }

  /** After a scroll in an unchanged layout. @param hasNewest whether the last row is the newest */
  scrolled(hasNewest: boolean): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller
    if (scrollTop === this.#placedTop) return
    if (this.#isOverruled && hasNewest) return this.restore(true)
    this.#placedTop = Number.NaN
    // If the last row is not the newest message, the end of the list is not a place to follow from,
    // even after the rest has loaded.
    this.wantsNewest = scrollHeight - scrollTop - clientHeight < AT_END_PX && hasNewest
    this.note()
  }

  #currentLayout(): string {
    const { clientWidth, clientHeight, scrollHeight } = this.#scroller
    return `${clientWidth} ${clientHeight} ${scrollHeight}`
  }
}
