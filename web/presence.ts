// Who is typing. The person's own typing is signalled to the room at most every few seconds, and
// only while the stream is open. The typing of others is shown until their signal is old, or until
// their message arrives.
import { isPermanent } from '../src/client/refusal.js'
import { find } from './find.js'
import { type Room } from './room.js'
import { type Signal } from './wire.js'

const KIND = 'typing'
const TELL_MS = 3000
const SHOWN_MS = 6000
const NAMES_MAX = 3

export class Presence {
  readonly #room: Room
  readonly #line = find(HTMLElement, '#typing')
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>()
  #toldAt = -Infinity
  #isAllowed = true

  constructor(room: Room) {
    this.#room = room
  }

  /** The person has typed something. */
  typed(user: string): void {
    const now = performance.now()
    if (!this.#isAllowed || user === '' || now - this.#toldAt < TELL_MS) return
    this.#toldAt = now
    this.#room.dialogs.signal(this.#room.name, { user, kind: KIND }).catch((error: unknown) => {
      // Nobody misses a signal; a permanent refusal would only be repeated.
      this.#isAllowed = !isPermanent(error)
    })
  }

  /** The text was sent: the next key press signals again. */
  sent(): void {
    this.#toldAt = -Infinity
  }

  heard({ user, kind }: Signal, me: string): void {
    if (kind !== KIND || user === me) return
    clearTimeout(this.#timers.get(user))
    this.#timers.set(
      user,
      setTimeout(() => this.wrote(user), SHOWN_MS)
    )
    this.#draw()
  }

  /** Somebody who has written is no longer typing. */
  wrote(user: string): void {
    clearTimeout(this.#timers.get(user))
    if (this.#timers.delete(user)) this.#draw()
  }

  #draw(): void {
    const users = [...this.#timers.keys()]
    const names = users.length > NAMES_MAX ? 'Several people' : users.join(', ')
    this.#line.textContent =
      users.length === 0 ? '' : `${names} ${users.length === 1 ? 'is' : 'are'} typing…`
  }
}
