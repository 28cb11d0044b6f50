// Who has written in the room, busiest first. Asked for once per connection and then counted along
// with the live messages, so that a busy room costs the service nothing; a message that came while
// the answer was on its way may be counted twice until the next connection. Drawn at most once a
// second.
import { find } from './find.js'
import { hueOf } from './hue.js'

const SHOWN_MAX = 50
const DRAW_MS = 1000

export class People {
  readonly #list = find(HTMLUListElement, '#people')
  readonly #count = find(HTMLElement, '#people-count')
  #messages = new Map<string, number>()
  #timer: number | undefined

  /** Replaces what is known by what the service says. */
  replace(messages: Map<string, number>): void {
    this.#messages = messages
    this.#draw()
  }

  /** Counts one more message. */
  count(user: string): void {
    this.#messages.set(user, (this.#messages.get(user) ?? 0) + 1)
    this.#timer ??= setTimeout(() => this.#draw(), DRAW_MS)
  }

  #draw(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const busiest = [...this.#messages].sort(([, a], [, b]) => b - a)
    const rows = busiest.slice(0, SHOWN_MAX).map(([user, messages]) => personRow(user, messages))
    const rest = busiest.length - rows.length
    if (rest > 0) rows.push(restRow(rest))
    this.#list.replaceChildren(...rows)
    this.#count.textContent = busiest.length.toLocaleString()
  }
}

function personRow(user: string, messages: number): HTMLLIElement {
  const row = find(
    HTMLLIElement,
    'li',
    document.importNode(find(HTMLTemplateElement, '#person-row').content, true)
  )
  find(HTMLElement, '.user', row).textContent = user
  find(HTMLElement, '.messages', row).textContent = messages.toLocaleString()
  row.style.setProperty('--hue', String(hueOf(user)))
  return row
}

function restRow(rest: number): HTMLLIElement {
  const row = document.createElement('li')
  row.className = 'rest'
  row.textContent = `and ${rest.toLocaleString()} more`
  return row
}
