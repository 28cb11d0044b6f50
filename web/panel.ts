// Rooms and people: beside the messages if there is space, and otherwise behind a button. Escape
// and a press elsewhere close the panel.
import { find } from './find.js'

export class Panel {
  readonly #panel = find(HTMLElement, '#panel')
  readonly #toggle = find(HTMLButtonElement, '#panel-toggle')

  start(): void {
    this.#toggle.addEventListener('click', () => this.#show(!this.#isShown))
    document.addEventListener('keydown', event => {
      if (event.key !== 'Escape' || !this.#isShown) return
      this.#show(false)
      this.#toggle.focus()
    })
    document.addEventListener('pointerdown', ({ target }) => {
      if (!(target instanceof Node) || !this.#isShown) return
      if (!this.#panel.contains(target) && !this.#toggle.contains(target)) this.#show(false)
    })
  }

  /**
   * The number of unread messages in other rooms. The button shows it when the rooms are behind the
   * button.
   */
  showUnread(count: number): void {
    this.#toggle.classList.toggle('unread', count > 0)
    find(HTMLElement, '.unread-note', this.#toggle).textContent =
      count > 0 ? 'something is unread, ' : ''
  }

  get #isShown(): boolean {
    return this.#panel.classList.contains('shown')
  }

  #show(isShown: boolean): void {
    this.#panel.classList.toggle('shown', isShown)
    this.#toggle.ariaExpanded = String(isShown)
    if (isShown) this.#panel.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' })
  }
}
