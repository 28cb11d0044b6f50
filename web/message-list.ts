// Shows the transcript. However many entries came, the DOM is brought up to date once per animation
// frame, by walking rows and entries side by side; a hidden page draws nothing and holds no more
// than the transcript does.
//
// The reader's place is kept: at the newest message it stays at the newest, anywhere else no row
// moves under the eyes. Only the person moves it. Rows that are added, a text field that grows and
// a window that is turned scroll the list as well, so a scroll counts as the person's only if the
// layout is still the one that was there at the last look.
import type { Transcript } from './transcript.js'
import { find } from './find.js'
import { Fold } from './fold.js'
import { MessageRow } from './message-row.js'

// A reader this close to the end means to be at the end: fractions of pixels, and a half scrolled
// line.
const AT_END_PX = 40

export class MessageList {
  readonly #transcript: Transcript
  readonly #scroller: HTMLElement
  readonly #list = find(HTMLOListElement, '#list')
  readonly #earlier = find(HTMLButtonElement, '#earlier')
  readonly #later = find(HTMLButtonElement, '#later')
  readonly #newest = find(HTMLButtonElement, '#newest')
  #rows: MessageRow[] = []
  #me = ''
  #wantsNewest = true
  #unseen = 0
  #frame: number | undefined
  #isLive = false
  #anchor: { row: MessageRow; top: number } | undefined
  #layout = ''
  #width = 0

  constructor(scroller: HTMLElement, transcript: Transcript) {
    this.#scroller = scroller
    this.#transcript = transcript
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true })
    const observer = new ResizeObserver(() => this.#resized())
    observer.observe(scroller)
    observer.observe(this.#list)
    this.#newest.addEventListener('click', () => {
      this.showNewest()
      scroller.focus({ preventScroll: true })
    })
  }

  /** Whether the reader looks at the newest message, and the list moves along with it. */
  get isFollowing(): boolean {
    return this.#wantsNewest && this.#transcript.isAtNewest
  }

  /** The transcript has got an entry at its end. */
  added(): void {
    if (!this.isFollowing) this.#unseen++
    this.changed()
  }

  /** The transcript is different; draws it with the next frame. */
  changed(): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  /** All that was shown is void. */
  cleared(): void {
    this.#wantsNewest = true
    this.changed()
  }

  showNewest(): void {
    if (!this.#transcript.isAtNewest) this.#transcript.jumpToNewest()
    this.#wantsNewest = true
    this.changed()
  }

  /** Whose messages are the reader's own. */
  recognise(me: string): void {
    this.#me = me
    for (const row of this.#rows) row.recognise(me)
  }

  /** Screen readers are told of live messages, not of history. */
  announce(isLive: boolean): void {
    this.#isLive = isLive
    this.changed()
  }

  #draw(): void {
    this.#frame = undefined
    const first = this.#transcript.shown[0]
    const isOlder = first !== undefined && first.seq < (this.#rows[0]?.entry.seq ?? 0)
    this.#scroller.ariaLive = this.#isLive && !isOlder ? 'polite' : 'off'

    this.#reconcile()
    this.#hide(this.#earlier, first === undefined || first.seq <= 1)
    this.#hide(this.#later, this.#transcript.isAtNewest)
    this.#restorePlace()
    this.#drawNewest()
  }

  /** Puts the list where the reader was before the layout changed. */
  #restorePlace(): void {
    this.#layout = this.#currentLayout()
    if (this.isFollowing) this.#scroller.scrollTop = this.#scroller.scrollHeight
    // The place that the person chose stays the one to return to: a window turned there and back
    // ends where it began.
    else if (this.#anchor?.row.element.isConnected === true) {
      this.#scroller.scrollTop += this.#topOf(this.#anchor.row) - this.#anchor.top
    } else this.#notePlace()
  }

  #notePlace(): void {
    const row = this.#firstVisible()
    this.#anchor = row && { row, top: this.#topOf(row) }
    this.#layout = this.#currentLayout()
  }

  #currentLayout(): string {
    const { clientWidth, clientHeight, scrollHeight } = this.#scroller
    return `${clientWidth} ${clientHeight} ${scrollHeight}`
  }

  #topOf({ element }: MessageRow): number {
    return element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top
  }

  #resized(): void {
    if (this.#scroller.clientWidth !== this.#width) {
      this.#width = this.#scroller.clientWidth
      Fold.measure(this.#rows.flatMap(({ fold }) => fold ?? []))
    }
    if (this.#currentLayout() !== this.#layout) this.#restorePlace()
  }

  /**
   * Makes the rows those of the transcript. Rows whose entry stays are kept: by identity, for a
   * number may come again after a reset.
   */
  #reconcile(): void {
    const old = this.#rows
    const kept = new Set(this.#transcript.shown)
    let next = 0
    const pass = () => {
      for (let row = old[next]; row !== undefined && !kept.has(row.entry); row = old[++next]) {
        row.element.remove()
      }
    }
    pass()
    const folds: Fold[] = []
    this.#rows = this.#transcript.shown.map((entry, index, entries) => {
      let row = old[next]
      if (row?.entry === entry) {
        next++
        pass()
      } else {
        const below = row?.element ?? null
        row = new MessageRow(entry, this.#me, each => this.#holdAt(each))
        if (row.fold !== undefined) folds.push(row.fold)
        this.#list.insertBefore(row.element, below)
      }
      row.follow(entries[index - 1])
      return row
    })
    Fold.measure(folds)
  }

  /** What grows or shrinks at the person's wish does so below its first line. */
  #holdAt(row: MessageRow): void {
    this.#wantsNewest = false
    this.#anchor = { row, top: this.#topOf(row) }
  }

  /** By bisection, for rows stand in order and there may be thousands. */
  #firstVisible(): MessageRow | undefined {
    const { top } = this.#scroller.getBoundingClientRect()
    let from = 0
    let to = this.#rows.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((this.#rows[middle]?.element.getBoundingClientRect().bottom ?? Infinity) > top) {
        to = middle
      } else from = middle + 1
    }
    return this.#rows[from]
  }

  #onScroll(): void {
    if (this.#currentLayout() !== this.#layout) return this.#restorePlace()
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller
    // The end of a window that stops short of the newest is no place to follow from, not even once
    // it is joined.
    this.#wantsNewest =
      scrollHeight - scrollTop - clientHeight < AT_END_PX && this.#transcript.isAtNewest
    this.#notePlace()
    this.#drawNewest()
  }

  #drawNewest(): void {
    if (this.isFollowing) this.#unseen = 0
    const count = this.#unseen
    this.#newest.hidden = this.isFollowing
    this.#newest.textContent =
      count === 0
        ? 'Newest'
        : `${count.toLocaleString()} new ${count === 1 ? 'message' : 'messages'}`
  }

  /** A button that vanishes under the focus leaves it to the list. */
  #hide(button: HTMLButtonElement, isHidden: boolean): void {
    if (isHidden && document.activeElement === button) this.#scroller.focus({ preventScroll: true })
    button.hidden = isHidden
  }
}
