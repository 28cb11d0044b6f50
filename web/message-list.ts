// Shows the transcript. However many entries arrive, the DOM is updated once per animation frame,
// by walking rows and entries side by side. A hidden page draws nothing, and keeps no more than the
// transcript does. The reader's place is kept (reader-place.ts).
import { type Entry } from './entry.js'
import { find } from './find.js'
import { Fold } from './fold.js'
import { MessageRow } from './message-row.js'
import { Pills, type Unread } from './pills.js'
import { ReaderPlace, type ScrollPlace } from './reader-place.js'
import { Summary } from './summary.js'
import { type Transcript } from './transcript.js'
import { onNewDay } from './when.js'

/** History is loaded within this many window heights of its end. */
const NEAR_HEIGHTS = 1.5
/** How far down the window a message is shown after a jump to it. */
const TARGET_HEIGHTS = 1 / 4
/**
 * How long one frame adds rows at the end. The rest follow with the next frames, so that a slow
 * computer in a busy room answers in between. The browser's own layout of these rows takes about as
 * long again.
 */
const BUILD_MS_MAX = 30
/** A frame adds at least these, however slow. */
const BUILT_MIN = 8

export type MessageListListener = {
  /** The person comes near the first or the last row, and there is more to load. */
  readonly onNear: (edge: 'earlier' | 'later') => void
  /** The newest message is visible. */
  readonly onSeen: (newest: Entry) => void
  /** The first visible entry, or undefined while the reader is at the newest message. */
  readonly onSight: (first: Entry | undefined) => void
}

/** Where to go: to a message, which is highlighted, or to exactly this place. */
type Target = { readonly seq: number; readonly topPx?: number }

export class MessageList {
  readonly #transcript: Transcript
  readonly #listener: MessageListListener
  readonly #summary = new Summary()
  readonly #scroller: HTMLElement
  readonly #list = find(HTMLOListElement, '#list')
  readonly #earlier = find(HTMLButtonElement, '#earlier')
  readonly #later = find(HTMLButtonElement, '#later')
  readonly #pills: Pills
  readonly #place: ReaderPlace
  #unread: Unread | undefined
  #target: Target | undefined
  /** Whether rows are still missing at the end. */
  #isBehind = false
  #isSelecting = false
  #rows: MessageRow[] = []
  #me = ''
  #unseen = 0
  #frame: number | undefined
  #isLive = false
  #width = 0

  constructor(scroller: HTMLElement, transcript: Transcript, listener: MessageListListener) {
    this.#scroller = scroller
    this.#transcript = transcript
    this.#listener = listener
    this.#place = new ReaderPlace(scroller, () => this.#rows)
    this.#pills = new Pills(() => {
      this.showNewest()
      scroller.focus({ preventScroll: true })
    })
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true })
    scroller.addEventListener('scrollend', () => this.#onRest())
    const observer = new ResizeObserver(() => this.#resized())
    observer.observe(scroller)
    observer.observe(this.#list)
    document.addEventListener('selectionchange', () => this.#onSelection())
    document.addEventListener('visibilitychange', () => this.#tellSeen())
    onNewDay(() => {
      for (const row of this.#rows) row.renameDay()
      this.changed()
    })
  }

  /** What is in a row. */
  entryOf(element: Element): Entry | undefined {
    return this.#rows.find(row => row.element === element)?.entry
  }

  /** Puts a line above the first unread message, and a button that leads to it. */
  markUnread(unread: Unread | undefined): void {
    this.#unread = unread
    this.changed()
  }

  /** Goes to a message that the transcript contains, and highlights it. */
  showSeq(seq: number): void {
    this.#target = { seq }
    this.changed()
  }

  /** Goes to a place where the reader was before. */
  showPlace(place: ScrollPlace): void {
    this.#target = place
    this.changed()
  }

  /** Where the reader is; undefined at the newest message. */
  get place(): ScrollPlace | undefined {
    return this.isFollowing ? undefined : this.#place.place
  }

  /** The reader is about to go elsewhere: what arrives until then does not count as seen. */
  leaveNewest(): void {
    this.#place.wantsNewest = false
  }

  /** Whether the reader looks at the newest message, so that the list follows it. */
  get isFollowing(): boolean {
    return this.#place.wantsNewest && this.#transcript.isAtNewest && !this.#isSelecting
  }

  /** The transcript has got an entry at its end. */
  added(): void {
    if (!this.isFollowing) this.#unseen++
    if (this.#isLive) this.#summary.count()
    this.changed()
  }

  /** The transcript has changed; draws it with the next frame. */
  changed(): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  /** Everything that was shown is void. */
  cleared(): void {
    this.#place.wantsNewest = true
    this.#unread = undefined
    this.changed()
  }

  showNewest(): void {
    if (!this.#transcript.isAtNewest) this.#transcript.jumpToNewest()
    this.#place.goToNewest()
    this.changed()
  }

  /** Whose messages are the reader's own. */
  recognise(me: string): void {
    this.#me = me
    for (const row of this.#rows) row.recognise(me)
  }

  /** Screen readers announce live messages, not history. */
  announce(isLive: boolean): void {
    this.#isLive = isLive
    this.changed()
  }

  #draw(): void {
    this.#frame = undefined
    const first = this.#transcript.shown[0]
    const isOlder = first !== undefined && first.seq < (this.#rows[0]?.entry.seq ?? 0)
    // Nobody can listen to more than one message a second: then the summary says how many came.
    const isTold = this.#isLive && !isOlder && !this.#summary.isBusy
    this.#scroller.ariaLive = isTold ? 'polite' : 'off'

    this.#reconcile()
    this.#hide(this.#earlier, first === undefined || first.seq <= 1)
    this.#hide(this.#later, this.#transcript.isAtNewest)
    if (this.#target === undefined) this.#place.restore(this.isFollowing)
    else this.#goTo(this.#target)
    this.#drawPills()
    this.#tellSeen()
    if (this.#isBehind) this.changed()
  }

  #goTo({ seq, topPx }: Target): void {
    const row = this.#rows.find(({ entry }) => entry.seq >= seq && !('changes' in entry))
    if (row !== undefined || !this.#isBehind) this.#target = undefined
    if (row === undefined) return this.#place.restore(this.isFollowing)
    const hasNewest = this.#transcript.isAtNewest && !this.#isBehind
    this.#place.moveTo(row, topPx ?? this.#scroller.clientHeight * TARGET_HEIGHTS, hasNewest)
    if (topPx !== undefined) return
    row.element.classList.remove('found')
    // Restarts the animation, even for the message that was highlighted last.
    requestAnimationFrame(() => row.element.classList.add('found'))
  }

  #tellSeen(): void {
    const { newest } = this.#transcript
    const isSeen = this.isFollowing && !this.#isBehind && !document.hidden
    if (newest !== undefined && isSeen) this.#listener.onSeen(newest)
  }

  #onSelection(): void {
    const selection = document.getSelection()
    const isSelecting =
      selection !== null && !selection.isCollapsed && this.#list.contains(selection.anchorNode)
    if (isSelecting === this.#isSelecting) return
    if (isSelecting && this.isFollowing) this.#place.note()
    this.#isSelecting = isSelecting
    this.changed()
  }

  #resized(): void {
    if (this.#scroller.clientWidth !== this.#width) {
      this.#width = this.#scroller.clientWidth
      Fold.measure(this.#rows.flatMap(({ fold }) => fold ?? []))
    }
    if (this.#place.isOld) this.#place.restore(this.isFollowing)
  }

  /**
   * Makes the rows equal to the transcript, or to its beginning if many are new at its end. A row
   * is kept if its entry object is the same; sequences are not compared, because a sequence may
   * come again after a reset.
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
    const rows: MessageRow[] = []
    const entries = this.#transcript.shown
    const endAt = performance.now() + BUILD_MS_MAX
    let hasKept = false
    let built = 0
    this.#isBehind = false
    for (const [index, entry] of entries.entries()) {
      let row = old[next]
      // Only rows that come after ones that stay may be late: a new list is shown at once.
      const isMore = hasKept && row === undefined && built++ >= BUILT_MIN
      if (isMore && performance.now() > endAt) {
        this.#isBehind = true
        break
      }
      if (row?.entry === entry) {
        hasKept = true
        next++
        pass()
      } else {
        const below = row?.element ?? null
        row = new MessageRow(entry, this.#me, (each, abovePx) => this.#place.holdAt(each, abovePx))
        if (row.fold !== undefined) folds.push(row.fold)
        this.#list.insertBefore(row.element, below)
      }
      row.follow(entries[index - 1], visible, entry.seq === firstUnread)
      if (!('changes' in entry)) visible = entry
      rows.push(row)
    }
    this.#rows = rows
    Fold.measure(folds)
    this.#offerFocus()
  }

  /** The place of the line: above the first unread entry that is shown. */
  #firstUnread(): number | undefined {
    const unread = this.#unread?.seq
    if (unread === undefined) return undefined
    const { shown } = this.#transcript
    const isHere = (shown[0]?.seq ?? Infinity) < unread
    return isHere ? shown.find(each => each.seq >= unread && !('changes' in each))?.seq : undefined
  }

  /** Tab reaches one row, the last; from there the arrow keys lead to the others. */
  #offerFocus(): void {
    const last = this.#rows.at(-1)?.element
    for (const each of this.#list.querySelectorAll<HTMLElement>(':scope > [tabindex="0"]')) {
      if (each !== document.activeElement && each !== last) each.tabIndex = -1
    }
    if (last !== undefined) last.tabIndex = 0
  }

  #onScroll(): void {
    if (this.#place.isOld) return this.#place.restore(this.isFollowing)
    this.#place.scrolled(this.#transcript.isAtNewest)
    this.#drawPills()
    this.#tellSeen()
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller
    const near = clientHeight * NEAR_HEIGHTS
    if (scrollTop < near && !this.#earlier.hidden) this.#listener.onNear('earlier')
    if (scrollHeight - scrollTop - clientHeight < near && !this.#later.hidden) {
      this.#listener.onNear('later')
    }
  }

  #onRest(): void {
    this.#place.rested(this.#transcript.isAtNewest)
    this.#drawPills()
    this.#tellSeen()
  }

  #drawPills(): void {
    const { isFollowing } = this
    if (isFollowing) this.#unseen = 0
    this.#pills.drawNewest(isFollowing, this.#unseen)
    this.#pills.drawUnread(this.#isUnreadAbove() ? this.#unread : undefined)
    this.#listener.onSight(isFollowing ? undefined : this.#place.firstVisible()?.entry)
  }

  /** Whether the line is above the visible part. */
  #isUnreadAbove(): boolean {
    const seq = this.#unread?.seq
    if (seq === undefined) return false
    const row = this.#rows.find(({ entry }) => entry.seq >= seq)
    return row === undefined || row.entry.seq > seq || this.#place.topOf(row) < 0
  }

  /** If a button that is hidden has the focus, the list gets it. */
  #hide(button: HTMLButtonElement, isHidden: boolean): void {
    if (isHidden && document.activeElement === button) this.#scroller.focus({ preventScroll: true })
    button.hidden = isHidden
  }
}
