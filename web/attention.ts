// How the tab shows unread messages: their number in its title, and a dot on its icon. They are the
// unread messages of the person's other dialogs, and those that arrived here while the tab was in
// the background.
import { find } from './find.js'

const SHOWN_MAX = 99

export class Attention {
  readonly #title: string
  readonly #icon = find(HTMLLinkElement, 'link[rel="icon"]')
  readonly #plain = this.#icon.href
  #here = 0
  #elsewhere = 0

  constructor(title: string) {
    this.#title = title
    this.#show()
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return
      this.#here = 0
      this.#show()
    })
  }

  /** Somebody else has written here. */
  call(): void {
    if (!document.hidden) return
    this.#here++
    this.#show()
  }

  /** How many messages are unread in the person's other dialogs. */
  elsewhere(count: number): void {
    this.#elsewhere = count
    this.#show()
  }

  #show(): void {
    const count = this.#here + this.#elsewhere
    const shown = count > SHOWN_MAX ? `${SHOWN_MAX}+` : count
    const title = count === 0 ? this.#title : `(${shown}) ${this.#title}`
    if (document.title === title) return
    document.title = title
    this.#icon.href = count === 0 ? this.#plain : this.#plain.replace('icon.svg', 'icon-unread.svg')
  }
}
