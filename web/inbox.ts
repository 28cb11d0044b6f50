// The person's dialogs in the left column. With a name they come from the service, with what is
// unread in each; the rooms that were visited in this browser follow. They are asked for when the
// page opens, comes to the front, or another name is set, and once a minute while it is looked at.
import { type Dialogs } from '../src/client/dialogs.js'
import { drawRooms, type Listed, visitedRooms } from './rooms-visited.js'

const REFRESH_MS = 60_000
const LISTED_MAX = 50
const MARK_MS = 2000

export class Inbox {
  readonly #dialogs: Dialogs
  readonly #present: string
  #user = ''
  #rooms: readonly Listed[] = []
  #isMember = false
  #marked = 0
  #markTimer: ReturnType<typeof setTimeout> | undefined

  constructor(dialogs: Dialogs, present: string) {
    this.#dialogs = dialogs
    this.#present = present
  }

  start(user: string): void {
    this.#draw()
    this.setUser(user)
    setInterval(() => this.#refresh(), REFRESH_MS)
    document.addEventListener('visibilitychange', () => this.#refresh())
  }

  setUser(user: string): void {
    this.#user = user
    this.#rooms = []
    this.#isMember = false
    this.#refresh()
  }

  /** The person has written here, and is a member of the room now. */
  wrote(): void {
    if (this.#isMember) return
    this.#isMember = true
    this.#refresh()
  }

  /** The person has seen the room up to here: told at most every few seconds. */
  read(seq: number): void {
    if (!this.#isMember || seq <= this.#marked) return
    this.#marked = seq
    this.#markTimer ??= setTimeout(() => {
      this.#markTimer = undefined
      this.#dialogs.markRead(this.#present, this.#user, this.#marked).catch(() => {
        // The next message tries again.
        this.#marked = 0
      })
    }, MARK_MS)
  }

  #refresh(): void {
    if (document.hidden) return
    const user = this.#user
    if (user === '') return this.#draw()
    this.#dialogs.rooms(user, { limit: LISTED_MAX }).then(
      ({ rooms }) => {
        if (user !== this.#user) return
        this.#rooms = rooms
        this.#isMember ||= rooms.some(({ room }) => room === this.#present)
        this.#draw()
      },
      // A name that the service refuses has no dialogs; anything else is tried again.
      () => this.#draw()
    )
  }

  #draw(): void {
    const known = new Set(this.#rooms.map(({ room }) => room))
    const others = visitedRooms().filter(room => !known.has(room))
    drawRooms([...this.#rooms, ...others.map(room => ({ room, unread: 0 }))], this.#present)
  }
}
