// The list of rooms in the left column, as links with the last message, its time, and the number
// of unread messages. Rows are kept and moved, never recreated: a focused link keeps the focus, and
// its place in the list.
import { find } from './find.js'
import { hueOf, lettersOf } from './hue.js'
import { whenOf } from './when.js'

/** More than anyone scrolls through; each costs a row. */
const SHOWN_MAX = 200
/** The service counts up to this exactly. */
const UNREAD_MAX = 99

export type Listed = {
  readonly room: string
  readonly unread: number
  /** What the last message says, in a line; empty if that is not known. */
  readonly last: string
  /** Whether the last message was deleted. */
  readonly isGone: boolean
  /** When the last message was written; empty if that is not known. */
  readonly at: string
}

export class RoomList {
  readonly #present: string
  readonly #onGo: (room: string) => void
  readonly #list = find(HTMLUListElement, '#rooms')
  readonly #state = find(HTMLElement, '#rooms-state')
  readonly #rows = new Map<string, HTMLLIElement>()

  /**
   * @param present the room on screen: it is marked, and nothing is unread in it
   * @param onGo called before the person leaves for another room
   */
  constructor(present: string, onGo: (room: string) => void) {
    this.#present = present
    this.#onGo = onGo
  }

  /** Says whether the list may be out of date, in the words of the room's own state. */
  showBehind(isBehind: boolean): void {
    this.#state.textContent = isBehind ? 'Connecting…' : ''
  }

  /** Scrolls to the room on screen, if it is out of sight. */
  showPresent(): void {
    this.#rows.get(this.#present)?.scrollIntoView({ block: 'nearest' })
  }

  draw(rooms: readonly Listed[]): void {
    const shown = rooms.slice(0, SHOWN_MAX)
    const names = new Set(shown.map(({ room }) => room))
    for (const [room, row] of this.#rows) {
      if (names.has(room)) continue
      row.remove()
      this.#rows.delete(room)
    }
    const keepsOrder = this.#list.contains(document.activeElement)
    const now = new Date()
    for (const [index, { room, unread, last, isGone, at }] of shown.entries()) {
      const row = this.#rowOf(room)
      const line = find(HTMLElement, '.last', row)
      line.textContent = last
      line.classList.toggle('gone', isGone)
      const time = find(HTMLTimeElement, '.when', row)
      time.textContent = at === '' ? '' : whenOf(at, now)
      time.dateTime = at
      drawUnread(row, room === this.#present ? 0 : unread)
      const isNew = row.parentElement === null
      if (isNew || (!keepsOrder && this.#list.children[index] !== row)) {
        this.#list.insertBefore(row, this.#list.children[index] ?? null)
      }
    }
  }

  #rowOf(room: string): HTMLLIElement {
    const known = this.#rows.get(room)
    if (known !== undefined) return known
    const template = find(HTMLTemplateElement, '#room-row')
    const row = find(HTMLLIElement, 'li', document.importNode(template.content, true))
    const link = find(HTMLAnchorElement, 'a', row)
    link.href = `chat?${new URLSearchParams({ chat_id: room })}`
    link.addEventListener('click', () => this.#onGo(room))
    if (room === this.#present) link.ariaCurrent = 'page'
    find(HTMLElement, '.avatar', row).textContent = lettersOf(room)
    find(HTMLElement, '.name', row).textContent = room
    row.style.setProperty('--hue', String(hueOf(room)))
    this.#rows.set(room, row)
    return row
  }
}

function drawUnread(row: HTMLLIElement, unread: number): void {
  const badge = find(HTMLElement, '.badge', row)
  badge.hidden = unread === 0
  row.classList.toggle('unread', unread > 0)
  badge.textContent = unread > UNREAD_MAX ? `${UNREAD_MAX}+` : String(unread)
  badge.ariaLabel = `${badge.textContent} unread`
}
