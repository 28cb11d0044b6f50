// How far the person has read the room: in this browser, remembered between visits for each user
// name, and on other devices, as far as the service knows. Anything after that is unread when the
// room is opened again. What was read without a name counts until more is known.
import { type Entry } from './entry.js'
import { recall, remember } from './memory.js'
import { type Unread } from './pills.js'

const KEEP_MS = 1000

export class ReadMark {
  readonly #room: string
  #user: string | undefined
  #seq = 0
  #at = ''
  /** Whether this user has read the room in this browser before. */
  #isOwn = false
  #first: readonly Entry[] = []
  #newest: Entry | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(room: string) {
    this.#room = room
    this.setUser('')
    addEventListener('pagehide', () => this.#keep())
  }

  /** Two people who share a browser have not read the same. @param user empty for no name */
  setUser(user: string): void {
    if (user === this.#user) return
    this.#keep()
    this.#newest = undefined
    this.#user = user
    const own = recall(this.#name)
    this.#isOwn = own !== ''
    const [seq = '', at = ''] = (own || recall(`read.${this.#room}`)).split(' ')
    this.#seq = Number(seq) || 0
    this.#at = at
  }

  get #name(): string {
    return this.#user === ''
      ? `read.${this.#room}`
      : `read-by.${JSON.stringify([this.#user, this.#room])}`
  }

  /** The sequence when the page was opened; 0 if the room was never read. */
  get seq(): number {
    return this.#seq
  }

  /** The newest entries when the page was opened. */
  opened(first: readonly Entry[]): void {
    this.#first = first
  }

  /** The person had read up to here on any device, as far as the service knows. */
  wasRead(seq: number): void {
    // The mark of this browser may be ahead: the service is told a little later.
    if (this.#isOwn && seq <= this.#seq) return
    this.#seq = seq
    const last = this.#first.find(each => each.seq === seq)
    this.#at = last !== undefined && 'at' in last ? last.at : ''
  }

  /** What was unread when the page was opened; undefined if nothing was. */
  get unread(): Unread | undefined {
    const last = this.#first.at(-1)
    if (this.#seq === 0 || last === undefined || last.seq <= this.#seq) return undefined
    return { seq: this.#seq + 1, count: last.seq - this.#seq, since: this.#at }
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
