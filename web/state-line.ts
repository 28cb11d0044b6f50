// The state of the stream in words: right within two heartbeats, with the seconds until the next
// attempt. The buttons follow it. A button that has no effect now is marked as disabled
// (aria-disabled) and keeps the focus, which a really disabled button would lose.
import { find } from './find.js'
import { type StreamState } from './stream.js'

const LABEL: { readonly [state in StreamState]: string } = {
  closed: 'Closed',
  refused: 'Not allowed',
  connecting: 'Connecting…',
  history: 'Loading…',
  live: 'Live',
  reconnecting: 'Reconnecting…'
}

export class StateLine {
  readonly #line = find(HTMLElement, '#state')
  #state: StreamState = 'closed'
  #dueAt = 0
  #timer: ReturnType<typeof setInterval> | undefined

  constructor() {
    for (const event of ['online', 'offline']) addEventListener(event, () => this.#draw())
    this.show('closed', 0)
  }

  show(state: StreamState, inMs: number): void {
    this.#state = state
    this.#dueAt = Date.now() + inMs
    clearInterval(this.#timer)
    this.#timer = inMs >= 1000 ? setInterval(() => this.#draw(), 1000) : undefined
    this.#line.dataset['state'] = state
    find(HTMLElement, '#room').dataset['state'] = state
    const isOpen = state !== 'closed' && state !== 'refused'
    find(HTMLButtonElement, '#open').ariaDisabled = String(isOpen)
    find(HTMLButtonElement, '#close').ariaDisabled = String(!isOpen)
    this.#draw()
  }

  #draw(): void {
    const leftS = Math.ceil((this.#dueAt - Date.now()) / 1000)
    const isAway = this.#state === 'reconnecting'
    const label =
      isAway && !navigator.onLine
        ? 'Offline'
        : isAway && leftS > 0
          ? `Reconnecting in ${leftS} s`
          : LABEL[this.#state]
    if (this.#line.textContent !== label) this.#line.textContent = label
  }
}
