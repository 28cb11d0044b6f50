// One row of the list: a message, the gap that a lost one leaves, or a change, which is not shown.
// Everything that people wrote goes into the page as text nodes, never as HTML. How a row starts (a
// new day, a hole in the order, the unread line, the same user continuing) depends on the row above
// it; `follow` updates it when that row changes.
import { type Entry, isMessage } from './entry.js'
import { find } from './find.js'
import { Fold } from './fold.js'
import { hueOf, lettersOf } from './hue.js'
import { nodesOf } from './rich-text.js'
import { minuteFormat, nearDayOf } from './when.js'

// Messages of one user that follow each other within this time share one heading.
const SAME_BREATH_MS = 5 * 60_000

/** Combining marks on top of each other. */
const PILE = /\p{M}{2}/u

const secondFormat = new Intl.DateTimeFormat(undefined, {
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

/** Local days begin at a multiple of this, in every time zone. */
const QUARTER_MS = 15 * 60_000

const minuteOf = remembering(minuteFormat, 60_000)
const secondOf = remembering(secondFormat, 1000)
const fullOf = remembering(fullFormat, 1000)
const dayOfTime = remembering(dayFormat, QUARTER_MS)

export class MessageRow {
  readonly entry: Entry
  readonly element: HTMLLIElement
  /** For a text that may be too long to show whole. */
  readonly fold: Fold | undefined
  #above: Entry | undefined
  #visible: Entry | undefined
  #isFirstUnread = false

  /** @param onFold called before the text is folded or unfolded, as Fold does */
  constructor(entry: Entry, me: string, onFold: (row: MessageRow, abovePx: number) => void) {
    this.entry = entry
    this.element = fragmentRow(templateOf(entry))
    this.element.dataset['seq'] = String(entry.seq)
    find(HTMLElement, '.seq', this.element).textContent = `#${entry.seq}`
    if (isMessage(entry)) {
      const time = find(HTMLTimeElement, '.at', this.element)
      time.dateTime = entry.at
      time.textContent = minuteOf(entry.at)
      time.title = fullOf(entry.at)
      find(HTMLElement, '.seconds', this.element).textContent = secondOf(entry.at)
      find(HTMLElement, '.user', this.element).textContent = entry.user
      find(HTMLElement, '.avatar', this.element).textContent = lettersOf(entry.user)
      find(HTMLElement, '.text', this.element).replaceChildren(...nodesOf(entry.text))
      this.element.classList.toggle('piled', PILE.test(entry.text))
      this.element.classList.toggle('edited', entry.changed !== undefined)
      this.fold = Fold.of(this.element, entry.text, abovePx => onFold(this, abovePx))
      this.element.style.setProperty('--hue', String(hueOf(entry.user)))
    }
    this.recognise(me)
  }

  /** Marks the reader's own messages. */
  recognise(me: string): void {
    this.element.classList.toggle('own', isMessage(this.entry) && this.entry.user === me)
  }

  /**
   * Adapts the start of the row to the entry above it; undefined above the first. `visible` is the
   * nearest entry above that is not a change: it decides the day and the heading.
   */
  follow(above: Entry | undefined, visible: Entry | undefined, isFirstUnread: boolean): void {
    const isSame =
      above === this.#above && visible === this.#visible && isFirstUnread === this.#isFirstUnread
    if (isSame && above !== undefined) return
    this.#above = above
    this.#visible = visible
    this.#isFirstUnread = isFirstUnread
    const { dataset, classList } = this.element
    const missing = above === undefined ? 0 : this.entry.seq - above.seq - 1
    const missingLine = missing > 0 ? missingText(above?.seq ?? 0, this.entry.seq) : undefined
    const day = dayOf(this.entry)
    const isNewDay =
      day !== undefined &&
      (visible === undefined || (!('lost' in visible) && day !== dayOf(visible)))
    set(dataset, 'missing', missingLine)
    set(dataset, 'day', isNewDay ? day : undefined)
    this.#drawLines([
      ['unread-line', isFirstUnread ? 'New' : undefined],
      ['day', isNewDay ? day : undefined],
      ['missing', missingLine]
    ])
    classList.toggle(
      'heading',
      isNewDay || missing > 0 || isFirstUnread || !goesOn(visible, this.entry)
    )
  }

  /** The day has changed: what was today is yesterday. */
  renameDay(): void {
    const line = this.element.querySelector<HTMLElement>(':scope > .day')
    if (line !== null && 'at' in this.entry) nameDay(line, this.entry.at)
  }

  /** The lines above the message. Most rows have none, and no element for them. */
  #drawLines(lines: ReadonlyArray<readonly [name: string, text: string | undefined]>): void {
    for (const old of this.element.querySelectorAll(':scope > .line')) old.remove()
    for (const [name, text] of lines) {
      if (text === undefined) continue
      const line = document.createElement('p')
      line.className = `line ${name}`
      line.textContent = text
      this.element.prepend(line)
    }
    this.renameDay()
  }
}

/** Formatting is slow, and in a busy room the next message has the same time: it is remembered. */
function remembering(format: Intl.DateTimeFormat, stepMs: number): (at: string) => string {
  let known = Number.NaN
  let text = ''
  return at => {
    const ms = Date.parse(at)
    const step = Math.floor(ms / stepMs)
    if (step !== known) text = format.format(ms)
    known = step
    return text
  }
}

function templateOf(entry: Entry): string {
  if (isMessage(entry)) return '#message-row'
  if ('lost' in entry) return '#lost-row'
  return 'changes' in entry ? '#change-row' : '#deleted-row'
}

function fragmentRow(template: string): HTMLLIElement {
  return find(
    HTMLLIElement,
    'li',
    document.importNode(find(HTMLTemplateElement, template).content, true)
  )
}

function goesOn(above: Entry | undefined, entry: Entry): boolean {
  if (above === undefined || !isMessage(above) || !isMessage(entry)) return false
  return above.user === entry.user && Date.parse(entry.at) - Date.parse(above.at) < SAME_BREATH_MS
}

function dayOf(entry: Entry): string | undefined {
  return 'lost' in entry ? undefined : dayOfTime(entry.at)
}

/** "Today" and "Yesterday" have the date beside them, for paper and for the pointer. */
function nameDay(line: HTMLElement, at: string): void {
  const near = nearDayOf(at, new Date())
  line.textContent = near ?? dayOfTime(at)
  line.title = near === undefined ? '' : dayOfTime(at)
}

function missingText(above: number, below: number): string {
  return below - above === 2
    ? `Message #${above + 1} did not arrive`
    : `Messages #${above + 1} to #${below - 1} did not arrive`
}

function set(dataset: DOMStringMap, name: string, value: string | undefined): void {
  if (value === undefined) delete dataset[name]
  else dataset[name] = value
}
