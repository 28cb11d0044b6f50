// What a person can do with a message: copy it, copy its address, and edit or delete it if it is
// their own. One set of buttons serves all rows, and is put into the row that is hovered, focused
// or pressed long. Up and Down move from row to row; Tab leads from the row to its buttons.
import { type Entry, isMessage } from './entry.js'
import { find } from './find.js'

const LONG_PRESS_MS = 500

export type RowActionsListener = {
  readonly entryOf: (element: Element) => Entry | undefined
  readonly onCopy: (text: string, what: string) => void
  readonly addressOf: (seq: number) => string
  readonly onEdit: (entry: Entry & { user: string; text: string }) => void
  readonly onDelete: (entry: Entry & { user: string; text: string }) => void
}

export class RowActions {
  readonly #list: HTMLElement
  readonly #listener: RowActionsListener
  readonly #bar = find(HTMLElement, '#actions')
  #row: HTMLElement | undefined
  /** Where the mouse was when it last came over something. */
  #mouse = ''
  #pressTimer: ReturnType<typeof setTimeout> | undefined

  constructor(list: HTMLElement, listener: RowActionsListener) {
    this.#list = list
    this.#listener = listener
  }

  start(): void {
    const list = this.#list
    const listener = this.#listener
    const point = ({ target }: Event): void => this.#showAt(target)
    list.addEventListener('pointerover', event => {
      // A row that moves under a resting mouse is not hovered: the keyboard may be in use.
      const place = `${event.screenX} ${event.screenY}`
      if (event.pointerType === 'mouse' && place !== this.#mouse) point(event)
      this.#mouse = place
    })
    list.addEventListener('focusin', point)
    list.addEventListener('pointerdown', event => {
      if (event.pointerType === 'mouse') return
      clearTimeout(this.#pressTimer)
      this.#pressTimer = setTimeout(() => this.#showAt(event.target), LONG_PRESS_MS)
    })
    for (const type of ['pointerup', 'pointercancel', 'pointermove']) {
      list.addEventListener(type, () => clearTimeout(this.#pressTimer), { passive: true })
    }
    list.addEventListener('keydown', event => this.#move(event))
    this.#on('.copy', ({ text }) => listener.onCopy(text, 'The message'))
    this.#on('.link', ({ seq }) => listener.onCopy(listener.addressOf(seq), 'The link'))
    this.#on('.edit', entry => listener.onEdit(entry))
    this.#on('.delete', entry => listener.onDelete(entry))
  }

  #on(selector: string, act: (entry: Entry & { user: string; text: string }) => void): void {
    find(HTMLButtonElement, selector, this.#bar).addEventListener('click', () => {
      const entry = this.#row && this.#listener.entryOf(this.#row)
      if (entry !== undefined && isMessage(entry)) act(entry)
    })
  }

  #showAt(target: EventTarget | null): void {
    const row = target instanceof Element ? target.closest('li') : null
    if (row === null || row === this.#row) return
    const entry = this.#listener.entryOf(row)
    if (entry === undefined || !isMessage(entry)) return
    this.#row?.classList.remove('active')
    this.#row = row
    row.classList.add('active')
    find(HTMLElement, '.mine', this.#bar).hidden = !row.classList.contains('own')
    this.#bar.hidden = false
    find(HTMLElement, '.meta', row).append(this.#bar)
  }

  #move(event: KeyboardEvent): void {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key]
    const row = event.target instanceof HTMLElement ? event.target.closest('li') : null
    if (step === undefined || row === null) return
    const rows = [...this.#list.querySelectorAll<HTMLElement>(':scope > li:not(.change)')]
    const next = rows[rows.indexOf(row) + step]
    if (next === undefined) return
    event.preventDefault()
    row.tabIndex = -1
    next.tabIndex = 0
    next.focus()
  }
}
