// Shows the transcript. However many entries came, the DOM is brought up to date once per animation frame, by walking
// rows and entries side by side; a hidden page draws nothing and holds no more than the transcript does.
//
// The reader's place is kept: at the newest message it stays at the newest, anywhere else no row moves under the eyes.
import type { Transcript } from './transcript.js'
import { find } from './find.js'
import { MessageRow } from './message-row.js'

// A reader this close to the end means to be at the end: fractions of pixels, and a half scrolled line.
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

  constructor (scroller: HTMLElement, transcript: Transcript) {
    this.#scroller = scroller
    this.#transcript = transcript
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true })
    // A phone's keyboard and a growing text field take room from the list.
    new ResizeObserver(() => { if (this.isFollowing) this.#scrollToEnd() }).observe(scroller)
    this.#newest.addEventListener('click', () => {
      this.showNewest()
      scroller.focus({ preventScroll: true })
    })
  }

  /** Whether the reader looks at the newest message, and the list moves along with it. */
  get isFollowing (): boolean {
    return this.#wantsNewest && this.#transcript.isAtNewest
  }

  /** The transcript has got an entry at its end. */
  added (): void {
    if (!this.isFollowing) this.#unseen++
    this.changed()
  }

  /** The transcript is different; draws it with the next frame. */
  changed (): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  /** All that was shown is void. */
  cleared (): void {
    this.#wantsNewest = true
    this.changed()
  }

  showNewest (): void {
    if (!this.#transcript.isAtNewest) this.#transcript.jumpToNewest()
    this.#wantsNewest = true
    this.changed()
  }

  /** Whose messages are the reader's own. */
  recognise (me: string): void {
    this.#me = me
    for (const row of this.#rows) row.recognise(me)
  }

  /** Screen readers are told of live messages, not of history. */
  announce (isLive: boolean): void {
    this.#isLive = isLive
    this.changed()
  }

  #draw (): void {
    this.#frame = undefined
    const isFollowing = this.isFollowing
    const first = this.#transcript.shown[0]
    const isOlder = first !== undefined && first.seq < (this.#rows[0]?.entry.seq ?? 0)
    this.#scroller.ariaLive = this.#isLive && !isOlder ? 'polite' : 'off'

    const anchor = isFollowing ? undefined : this.#firstVisible()
    const anchorTop = anchor?.element.getBoundingClientRect().top ?? 0
    this.#reconcile()
    this.#hide(this.#earlier, first === undefined || first.seq <= 1)
    this.#hide(this.#later, this.#transcript.isAtNewest)
    if (isFollowing) this.#scrollToEnd()
    else if (anchor?.element.isConnected === true) this.#scroller.scrollTop += anchor.element.getBoundingClientRect().top - anchorTop
    this.#drawNewest()
  }

  /** Makes the rows those of the transcript. Rows whose entry stays are kept: by identity, for a number may come again after a reset. */
  #reconcile (): void {
    const old = this.#rows
    const kept = new Set(this.#transcript.shown)
    let next = 0
    const pass = () => {
      for (let row = old[next]; row !== undefined && !kept.has(row.entry); row = old[++next]) row.element.remove()
    }
    pass()
    this.#rows = this.#transcript.shown.map((entry, index, entries) => {
      let row = old[next]
      if (row?.entry === entry) {
        next++
        pass()
      } else {
        const below = row?.element ?? null
        row = new MessageRow(entry, this.#me)
        this.#list.insertBefore(row.element, below)
      }
      row.follow(entries[index - 1])
      return row
    })
  }

  #firstVisible (): MessageRow | undefined {
    const { top } = this.#scroller.getBoundingClientRect()
    return this.#rows.find(({ element }) => element.getBoundingClientRect().bottom > top)
  }

  #onScroll (): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller
    // The end of a window that stops short of the newest is no place to follow from, not even once it is joined.
    this.#wantsNewest = scrollHeight - scrollTop - clientHeight < AT_END_PX && this.#transcript.isAtNewest
    this.#drawNewest()
  }

  #scrollToEnd (): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight
  }

  #drawNewest (): void {
    if (this.isFollowing) this.#unseen = 0
    const count = this.#unseen
    this.#newest.hidden = this.isFollowing
    this.#newest.textContent = count === 0 ? 'Newest' : `${count.toLocaleString()} new ${count === 1 ? 'message' : 'messages'}`
  }

  /** A button that vanishes under the focus leaves it to the list. */
  #hide (button: HTMLButtonElement, isHidden: boolean): void {
    if (isHidden && document.activeElement === button) this.#scroller.focus({ preventScroll: true })
    button.hidden = isHidden
  }
}
