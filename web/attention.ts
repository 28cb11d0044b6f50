// What a tab in the background shows of new messages: their number in its title, and a dot on its
// icon.
import { find } from './find.js'

export class Attention {
  readonly #title: string
  readonly #icon = find(HTMLLinkElement, 'link[rel="icon"]')
  readonly #plain = this.#icon.href
  #count = 0

  constructor(title: string) {
    this.#title = title
    document.title = title
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#show(0)
    })
  }

  /** Somebody else has written. */
  call(): void {
    if (document.hidden) this.#show(this.#count + 1)
  }

  #show(count: number): void {
    if (count === this.#count) return
    this.#count = count
    document.title = count === 0 ? this.#title : `(${count > 99 ? '99+' : count}) ${this.#title}`
    this.#icon.href = count === 0 ? this.#plain : this.#plain.replace('icon.svg', 'icon-unread.svg')
  }
}
