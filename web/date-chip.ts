// The day of the messages in view, shown above them while the reader is not at the newest, and the
// way to another day: the browser's own date picker.
import { type Entry } from './entry.js'
import { find } from './find.js'
import { nearDayOf } from './when.js'

const dayFormat = new Intl.DateTimeFormat(undefined, {
  weekday: 'short',
  day: 'numeric',
  month: 'long',
  year: 'numeric'
})

export class DateChip {
  readonly #chip = find(HTMLElement, '#date')
  readonly #day = find(HTMLElement, '#date .day')
  readonly #input = find(HTMLInputElement, '#date input')

  /** @param onDay gets the first moment of the selected day, in ms since 1970 */
  constructor(onDay: (ms: number) => void) {
    for (const button of document.querySelectorAll<HTMLButtonElement>('.choose-date')) {
      button.addEventListener('click', () => this.#choose())
    }
    this.#input.addEventListener('change', () => {
      const [year = 0, month = 0, day = 0] = this.#input.value.split('-').map(Number)
      if (year > 0) onDay(new Date(year, month - 1, day).getTime())
    })
  }

  /** @param first the first visible entry; undefined at the newest */
  show(first: Entry | undefined): void {
    this.#chip.classList.toggle('shown', first !== undefined)
    if (first === undefined || 'lost' in first) return
    const day = nearDayOf(first.at, new Date()) ?? dayFormat.format(new Date(first.at))
    if (this.#day.textContent !== day) this.#day.textContent = day
  }

  #choose(): void {
    this.#input.max = localDay(new Date())
    try {
      this.#input.showPicker()
    } catch {
      this.#input.focus() // an old browser: the day must be typed
    }
  }
}

function localDay(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}
