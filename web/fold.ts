// Folds long texts to 12 lines, with a button that shows the rest: a message of 2,000 lines would
// be 50 screens high. The number of lines depends on the width, so it is measured: all candidates
// are folded first, then measured, and then those that fit are unfolded. That costs one layout for
// any number of texts.
import { find } from './find.js'

/**
 * A text below both limits is never longer than 12 lines, at 20 characters a line in the narrowest
 * window that anyone uses.
 */
const LENGTH_MIN = 240
const LINES_MIN = 12

export class Fold {
  readonly #element: HTMLElement
  readonly #text: HTMLElement
  readonly #button: HTMLButtonElement
  #isOpened = false

  private constructor(element: HTMLElement, onToggle: (abovePx: number) => void) {
    this.#element = element
    this.#text = find(HTMLElement, '.text', element)
    this.#button = find(HTMLButtonElement, '.fold', element)
    this.#button.addEventListener('click', () => {
      onToggle(0)
      this.#isOpened = !this.#isOpened
      this.#show(true)
      // Chromium remembers where it was scrolled before it was unfolded.
      if (!this.#isOpened) this.#text.scrollTop = 0
    })
    // Only the browser scrolls a folded text: to what it has found, or what gets the focus.
    this.#text.addEventListener('scroll', () => {
      const { scrollTop } = this.#text
      if (this.#isOpened || scrollTop === 0) return
      onToggle(scrollTop)
      this.#isOpened = true
      this.#show(true)
    })
  }

  /**
   * @param onToggle called before the text is folded or unfolded, with how much will appear above
   *   what is visible of it, in px
   * @returns undefined for a text that is short at any width
   */
  static of(
    element: HTMLElement,
    text: string,
    onToggle: (abovePx: number) => void
  ): Fold | undefined {
    const isCandidate =
      text.length > LENGTH_MIN || text.split('\n', LINES_MIN + 1).length > LINES_MIN
    return isCandidate ? new Fold(element, onToggle) : undefined
  }

  /** Folds the texts that are longer than 12 lines at the current width. */
  static measure(folds: readonly Fold[]): void {
    for (const fold of folds) fold.#element.classList.add('folded')
    const areLong = folds.map(fold => fold.#text.scrollHeight > fold.#text.clientHeight + 1)
    for (const [index, fold] of folds.entries()) fold.#show(areLong[index] === true)
  }

  #show(isLong: boolean): void {
    this.#element.classList.toggle('folded', isLong && !this.#isOpened)
    this.#button.hidden = !isLong
    this.#button.ariaExpanded = String(this.#isOpened)
    this.#button.textContent = this.#isOpened ? 'Show less' : 'Show all'
  }
}
