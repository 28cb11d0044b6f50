// The buttons that float over the messages: down to the newest, and up to the first unread.
import { find } from './find.js'
import { whenOf } from './when.js'

const COUNTED_MAX = 999

/** Messages that were already there when the room was opened, and not read before. */
export type Unread = { readonly seq: number; readonly count: number; readonly since: string }

export class Pills {
  readonly #newest = find(HTMLButtonElement, '#newest')
  readonly #unread = find(HTMLButtonElement, '#unread')

  constructor(onNewest: () => void) {
    this.#newest.addEventListener('click', onNewest)
  }

  /** @param unseen how many arrived while the reader was elsewhere */
  drawNewest(isFollowing: boolean, unseen: number): void {
    this.#newest.hidden = isFollowing
    this.#newest.textContent =
      unseen === 0
        ? 'Newest'
        : `${unseen.toLocaleString()} new ${unseen === 1 ? 'message' : 'messages'}`
  }

  /** @param unread undefined if no unread message is above the visible part */
  drawUnread(unread: Unread | undefined): void {
    this.#unread.hidden = unread === undefined
    if (unread === undefined) return
    const count = unread.count > COUNTED_MAX ? `${COUNTED_MAX}+` : unread.count
    const since = unread.since === '' ? '' : ` since ${whenOf(unread.since, new Date())}`
    this.#unread.textContent = `${count} new${since}`
  }
}
