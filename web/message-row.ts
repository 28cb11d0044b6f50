// One row of the list: a message, or the gap that a lost one leaves. Everything that people wrote
// goes into the page by textContent, never as HTML. How a row begins (a new day, a hole in the
// order, the same user going on) depends on the row above it and is redone by `follow` when that
// changes.
import type { Entry } from './message.js'
import { find } from './find.js'
import { Fold } from './fold.js'
import { hueOf } from './hue.js'

// Messages of one user that follow each other within this time share one heading.
const SAME_BREATH_MS = 5 * 60_000

const timeFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23'
})
const dayFormat = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric'
})
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' })

export class MessageRow {
  readonly entry: Entry
  readonly element: HTMLLIElement
  /** For a text that may be too long to show whole. */
  readonly fold: Fold | undefined
  #above: Entry | undefined

  /** @param onFold is told before the person folds or unfolds the text */
  constructor(entry: Entry, me: string, onFold: (row: MessageRow) => void) {
    this.entry = entry
    this.element = 'lost' in entry ? fragmentRow('#lost-row') : fragmentRow('#message-row')
    find(HTMLElement, '.seq', this.element).textContent = `#${entry.seq}`
    if (!('lost' in entry)) {
      const at = new Date(entry.at)
      const time = find(HTMLTimeElement, 'time', this.element)
      time.dateTime = entry.at
      time.textContent = timeFormat.format(at)
      time.title = fullFormat.format(at)
      find(HTMLElement, '.user', this.element).textContent = entry.user
      find(HTMLElement, '.text', this.element).textContent = entry.text
      find(HTMLElement, '.avatar', this.element).textContent = initialOf(entry.user)
      this.fold = Fold.of(this.element, entry.text, () => onFold(this))
      this.element.style.setProperty('--hue', String(hueOf(entry.user)))
    }
    this.recognise(me)
  }

  /** Marks the reader's own messages. */
  recognise(me: string): void {
    this.element.classList.toggle('own', 'user' in this.entry && this.entry.user === me)
  }

  /** Adapts the row's beginning to what stands above it; undefined above the first. */
  follow(above: Entry | undefined): void {
    if (above === this.#above && above !== undefined) return
    this.#above = above
    const { dataset, classList } = this.element
    const missing = above === undefined ? 0 : this.entry.seq - above.seq - 1
    set(dataset, 'missing', missing > 0 ? missingText(above?.seq ?? 0, this.entry.seq) : undefined)
    const day = dayOf(this.entry)
    const isNewDay =
      day !== undefined && (above === undefined || (!('lost' in above) && day !== dayOf(above)))
    set(dataset, 'day', isNewDay ? day : undefined)
    classList.toggle('heading', isNewDay || missing > 0 || !goesOn(above, this.entry))
  }
}

function fragmentRow(template: string): HTMLLIElement {
  return find(
    HTMLLIElement,
    'li',
    document.importNode(find(HTMLTemplateElement, template).content, true)
  )
}

function goesOn(above: Entry | undefined, entry: Entry): boolean {
  if (above === undefined || 'lost' in above || 'lost' in entry) return false
  return above.user === entry.user && Date.parse(entry.at) - Date.parse(above.at) < SAME_BREATH_MS
}

function dayOf(entry: Entry): string | undefined {
  return 'lost' in entry ? undefined : dayFormat.format(new Date(entry.at))
}

function missingText(above: number, below: number): string {
  return below - above === 2
    ? `Message #${above + 1} did not arrive`
    : `Messages #${above + 1} to #${below - 1} did not arrive`
}

function initialOf(user: string): string {
  return (
    [...user]
      .find(character => /[\p{L}\p{N}\p{Emoji_Presentation}]/u.test(character))
      ?.toLocaleUpperCase() ?? '·'
  )
}

function set(dataset: DOMStringMap, name: string, value: string | undefined): void {
  if (value === undefined) delete dataset[name]
  else dataset[name] = value
}
