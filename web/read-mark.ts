// How far the person has read the room in this browser, kept between visits: what came after it is
// unread when the room is opened again.
import { type Entry } from './entry.js'
import { recall, remember } from './memory.js'
import { type Unread } from './message-list.js'

const KEEP_MS = 1000

export class ReadMark {
  /** As it was when the page was opened; 0 where the room was never read. */
  readonly seq: number
  readonly #name: string
  readonly #at: string
  #newest: Entry | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(room: string) {
    this.#name = `read.${room}`
    const [seq = '', at = ''] = recall(this.#name).split(' ')
    this.seq = Number(seq) || 0
    this.#at = at
    addEventListener('pagehide', () => this.#keep())
  }

  /** What is unread when these are the newest entries; undefined for nothing. */
  unreadOf(entries: readonly Entry[]): Unread | undefined {
    const last = entries.at(-1)
    if (this.seq === 0 || last === undefined || last.seq <= this.seq) return undefined
    return { seq: this.seq + 1, count: last.seq - this.seq, since: this.#at }
  }

  /** The person looks at the newest message. */
  saw(newest: Entry): void {
    if (newest === this.#newest) return
    this.#newest = newest
    this.#timer ??= setTimeout(() => this.#keep(), KEEP_MS)
  }

  #keep(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#newest === undefined) return
    const at = 'at' in this.#newest ? this.#newest.at : new Date().toISOString()
    remember(this.#name, `${this.#newest.seq} ${at}`)
  }
}
