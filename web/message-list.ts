// Shows the transcript. However many entries came, the DOM is brought up to date once per animation
// frame, by walking rows and entries side by side; a hidden page draws nothing and holds no more
// than the transcript does.
//
// The reader's place is kept: at the newest message it stays at the newest, anywhere else no row
// moves under the eyes. Only the person moves it. Rows that are added, a text field that grows and
// a window that is turned scroll the list as well, so a scroll counts as the person's only if the
// layout is still the one that was there at the last look.
import { type Entry } from './entry.js'
import { find } from './find.js'
import { Fold } from './fold.js'
import { MessageRow, minuteOf } from './message-row.js'
import { Summary } from './summary.js'
import { type Transcript } from './transcript.js'

// A reader this close to the end means to be at the end: fractions of pixels, and a half scrolled
// line.
const AT_END_PX = 40

/** History is loaded before its end is reached: within so many heights of the window. */
const NEAR_HEIGHTS = 1.5
/** How far down the window a message stands that was jumped to. */
const TARGET_HEIGHTS = 1 / 4

export interface MessageListListener {
  /** The person comes near the first or the last row, and there is more. */
  readonly onNear: (edge: 'earlier' | 'later') => void
  /** The newest message is in sight. */
  readonly onSeen: (newest: Entry) => void
}

/** What had been written when the room was opened and was not read before. */
export type Unread = { readonly seq: number; readonly count: number; readonly since: string }

export class MessageList {
  readonly #transcript: Transcript
  readonly #listener: MessageListListener
  readonly #summary = new Summary()
  readonly #scroller: HTMLElement
  readonly #list = find(HTMLOListElement, '#list')
  readonly #earlier = find(HTMLButtonElement, '#earlier')
  readonly #later = find(HTMLButtonElement, '#later')
  readonly #newest = find(HTMLButtonElement, '#newest')
  readonly #unreadPill = find(HTMLButtonElement, '#unread')
  #unread: Unread | undefined
  #target: number | undefined
  #isSelecting = false
  #rows: MessageRow[] = []
  #me = ''
  #wantsNewest = true
  #unseen = 0
  #frame: number | undefined
  #isLive = false
  #anchor: { row: MessageRow; top: number } | undefined
  #layout = ''
  /** Where this file has scrolled to: the event that follows is not the person's. */
  #placedTop = Number.NaN
  #width = 0

  constructor(scroller: HTMLElement, transcript: Transcript, listener: MessageListListener) {
    this.#scroller = scroller
    this.#transcript = transcript
    this.#listener = listener
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true })
    const observer = new ResizeObserver(() => this.#resized())
    observer.observe(scroller)
    observer.observe(this.#list)
    this.#newest.addEventListener('click', () => {
      this.showNewest()
      scroller.focus({ preventScroll: true })
    })
    document.addEventListener('selectionchange', () => this.#onSelection())
    document.addEventListener('visibilitychange', () => this.#tellSeen())
  }

  /** What stands in a row. */
  entryOf(element: Element): Entry | undefined {
    return this.#rows.find(row => row.element === element)?.entry
  }

  /** Puts a line above the first unread message, and a button that leads to it. */
  markUnread(unread: Unread | undefined): void {
    this.#unread = unread
    this.changed()
  }

  /** Leads to a message that the transcript shows, and points it out. */
  showSeq(seq: number): void {
    this.#target = seq
    this.changed()
  }

  /** Whether the reader looks at the newest message, and the list moves along with it. */
  get isFollowing(): boolean {
    return this.#wantsNewest && this.#transcript.isAtNewest && !this.#isSelecting
  }

  /** The transcript has got an entry at its end. */
  added(): void {
    if (!this.isFollowing) this.#unseen++
    if (this.#isLive) this.#summary.count()
    this.changed()
  }

  /** The transcript is different; draws it with the next frame. */
  changed(): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  /** All that was shown is void. */
  cleared(): void {
    this.#wantsNewest = true
    this.#unread = undefined
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
    // Above one message a second nobody can listen to each: the summary tells how many came.
    const isTold = this.#isLive && !isOlder && !this.#summary.isBusy
    this.#scroller.ariaLive = isTold ? 'polite' : 'off'

    this.#reconcile()
    this.#hide(this.#earlier, first === undefined || first.seq <= 1)
    this.#hide(this.#later, this.#transcript.isAtNewest)
    if (this.#target === undefined) this.#restorePlace()
    else this.#goTo(this.#target)
    this.#drawNewest()
    this.#tellSeen()
  }

  #goTo(seq: number): void {
    this.#target = undefined
    const row = this.#rows.find(({ entry }) => entry.seq >= seq)
    if (row === undefined) return this.#restorePlace()
    this.#wantsNewest = false
    const offset = this.#scroller.clientHeight * TARGET_HEIGHTS
    this.#scroller.scrollTop += this.#topOf(row) - offset
    this.#notePlace()
    row.element.classList.remove('found')
    // Once more from the beginning, also for the one that was found last.
    requestAnimationFrame(() => row.element.classList.add('found'))
  }

  #tellSeen(): void {
    const { newest } = this.#transcript
    if (newest !== undefined && this.isFollowing && !document.hidden) this.#listener.onSeen(newest)
  }

  #onSelection(): void {
    const selection = document.getSelection()
    const isSelecting =
      selection !== null && !selection.isCollapsed && this.#list.contains(selection.anchorNode)
    if (isSelecting === this.#isSelecting) return
    if (isSelecting && this.isFollowing) this.#notePlace()
    this.#isSelecting = isSelecting
    this.changed()
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
    this.#placedTop = this.#scroller.scrollTop
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
    const firstUnread = this.#firstUnread()
    let visible: Entry | undefined
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
      row.follow(entries[index - 1], visible, entry.seq === firstUnread)
      if (!('changes' in entry)) visible = entry
      return row
    })
    Fold.measure(folds)
    this.#offerFocus()
  }

  /** Where the line stands: above the first unread entry that is shown. */
  #firstUnread(): number | undefined {
    const unread = this.#unread?.seq
    if (unread === undefined) return undefined
    const { shown } = this.#transcript
    const isHere = (shown[0]?.seq ?? Infinity) < unread
    return isHere ? shown.find(each => each.seq >= unread && !('changes' in each))?.seq : undefined
  }

  /** One row, the last, can be reached by Tab; from there the arrow keys lead to the others. */
  #offerFocus(): void {
    const last = this.#rows.at(-1)?.element
    for (const each of this.#list.querySelectorAll<HTMLElement>(':scope > [tabindex="0"]')) {
      if (each !== document.activeElement && each !== last) each.tabIndex = -1
    }
    if (last !== undefined) last.tabIndex = 0
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
    if (scrollTop !== this.#placedTop) {
      this.#placedTop = Number.NaN
      // The end of a window that stops short of the newest is no place to follow from, not even
      // once it is joined.
      this.#wantsNewest =
        scrollHeight - scrollTop - clientHeight < AT_END_PX && this.#transcript.isAtNewest
      this.#notePlace()
    }
    this.#drawNewest()
    this.#tellSeen()
    const near = clientHeight * NEAR_HEIGHTS
    if (scrollTop < near && !this.#earlier.hidden) this.#listener.onNear('earlier')
    if (scrollHeight - scrollTop - clientHeight < near && !this.#later.hidden) {
      this.#listener.onNear('later')
    }
  }

  #drawNewest(): void {
    if (this.isFollowing) this.#unseen = 0
    const count = this.#unseen
    this.#newest.hidden = this.isFollowing
    this.#newest.textContent =
      count === 0
        ? 'Newest'
        : `${count.toLocaleString()} new ${count === 1 ? 'message' : 'messages'}`
    this.#drawUnread()
  }

  /** As long as the line is above what can be seen. */
  #drawUnread(): void {
    const unread = this.#unread
    const row = unread && this.#rows.find(({ entry }) => entry.seq >= unread.seq)
    const isAbove = row === undefined || row.entry.seq > (unread?.seq ?? 0) || this.#topOf(row) < 0
    this.#unreadPill.hidden = unread === undefined || !isAbove
    if (unread === undefined || this.#unreadPill.hidden) return
    const count = unread.count > 999 ? '999+' : unread.count
    const since = unread.since === '' ? '' : ` since ${minuteOf(unread.since)}`
    this.#unreadPill.textContent = `${count} new${since}`
  }

  /** A button that vanishes under the focus leaves it to the list. */
  #hide(button: HTMLButtonElement, isHidden: boolean): void {
    if (isHidden && document.activeElement === button) this.#scroller.focus({ preventScroll: true })
    button.hidden = isHidden
  }
}
