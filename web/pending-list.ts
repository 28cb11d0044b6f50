// Shows the outbox below the messages: a row for each message that is not yet part of the room. A
// failed one has buttons to send it again or to discard it.
import { find } from './find.js'
import type { PendingMessage } from './outbox.js'

export type PendingListener = {
  readonly onRetry: (key: string) => void
  readonly onDiscard: (key: string) => void
}

export class PendingList {
  readonly #list = find(HTMLOListElement, '#pending')
  readonly #listener: PendingListener
  readonly #rows = new Map<string, HTMLLIElement>()

  constructor(listener: PendingListener) {
    this.#listener = listener
  }

  draw(messages: readonly PendingMessage[]): void {
    const keys = new Set(messages.map(({ key }) => key))
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue
      row.remove()
      this.#rows.delete(key)
    }
    for (const message of messages) this.#drawRow(message)
  }

  #drawRow(message: PendingMessage): void {
    let row = this.#rows.get(message.key)
    if (row === undefined) {
      row = this.#newRow(message)
      this.#rows.set(message.key, row)
      this.#list.append(row)
    }
    row.dataset['state'] = message.state
    row.hidden = message.isShown
    find(HTMLElement, '.progress', row).textContent = progressOf(message)
    find(HTMLElement, '.choices', row).hidden = message.state !== 'failed'
  }

  #newRow({ key, text }: PendingMessage): HTMLLIElement {
    const row = find(
      HTMLLIElement,
      'li',
      document.importNode(find(HTMLTemplateElement, '#pending-row').content, true)
    )
    find(HTMLElement, '.text', row).textContent = text
    find(HTMLElement, '.retry', row).addEventListener('click', () => this.#listener.onRetry(key))
    find(HTMLElement, '.discard', row).addEventListener('click', () =>
      this.#listener.onDiscard(key)
    )
    return row
  }
}

function progressOf({ state, reason, seq }: PendingMessage): string {
  switch (state) {
    case 'waiting':
      return 'Waiting'
    case 'sending':
      return reason === '' ? 'Sending…' : `${reason} Trying again…`
    case 'stored':
      return `Stored as #${seq}`
    case 'failed':
      return `Not sent. ${reason}`
  }
}
