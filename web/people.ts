// The members of the room, busiest first. The list is requested once per connection, page by page
// as the person wants, and then updated from the live messages, so a busy room costs the service
// nothing. A message that arrived while the answer was on its way may be counted twice until the
// next connection. Drawn at most once a second.
import { type UserPage } from '../src/client/dialogs.js'
import { find } from './find.js'
import { hueOf, lettersOf } from './hue.js'

/** More than anyone reads; each costs a row. */
const SHOWN_MAX = 2000
const DRAW_MS = 1000

export class People {
  readonly #list = find(HTMLUListElement, '#people')
  readonly #more = find(HTMLButtonElement, '#people-more')
  readonly #counts = document.querySelectorAll('.people-count')
  #messages = new Map<string, number>()
  #total = 0
  #next: string | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  /** @param onMore asks for the page after `after` */
  constructor(onMore: (after: string) => void) {
    this.#more.addEventListener('click', () => {
      if (this.#next !== null) onMore(this.#next)
    })
  }

  /** Replaces the list by what the service says. */
  replace(page: UserPage): void {
    this.#messages = new Map()
    this.add(page)
  }

  /** Adds a further page. */
  add({ total, users, next }: UserPage): void {
    for (const { user, messages } of users) this.#messages.set(user, messages)
    this.#total = total
    this.#next = next
    this.#draw()
  }

  /** Counts one more message. */
  count(user: string): void {
    const known = this.#messages.get(user)
    // Someone on a page that was not requested yet is not new.
    if (known === undefined && this.#next === null) this.#total++
    this.#messages.set(user, (known ?? 0) + 1)
    this.#timer ??= setTimeout(() => this.#draw(), DRAW_MS)
  }

  #draw(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const busiest = [...this.#messages].sort(([, a], [, b]) => b - a).slice(0, SHOWN_MAX)
    this.#list.replaceChildren(...busiest.map(([user, messages]) => personRow(user, messages)))
    this.#more.hidden = this.#next === null || busiest.length >= SHOWN_MAX
    this.#more.textContent = `Show more of ${this.#total.toLocaleString()}`
    for (const count of this.#counts) count.textContent = this.#total.toLocaleString()
  }
}

function personRow(user: string, messages: number): HTMLLIElement {
  const row = find(
    HTMLLIElement,
    'li',
    document.importNode(find(HTMLTemplateElement, '#person-row').content, true)
  )
  find(HTMLElement, '.avatar', row).textContent = lettersOf(user)
  find(HTMLElement, '.user', row).textContent = user
  find(HTMLElement, '.messages', row).textContent = messages.toLocaleString()
  row.style.setProperty('--hue', String(hueOf(user)))
  return row
}
