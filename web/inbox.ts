// The person's dialogs in the left column, live, as the exchange reports them. The rooms that were
// visited in this browser follow below. A person without a name has only those. Also reports how
// far the person has read the current room, so that other devices know.
import { type Dialog, type Dialogs } from '../src/client/dialogs.js'
import { type DialogNews, type Line } from './line.js'
import { RoomList } from './room-list.js'
import { visitedRooms } from './rooms-visited.js'
import { onNewDay } from './when.js'

const MARK_MS = 2000
/** Messages arrive faster than a list can be read. */
const DRAW_MS = 250
/** Characters of the last message in the list; the column is narrower. */
const LINE_LENGTH = 120

export type InboxListener = {
  /** The number of unread messages in the dialogs other than the current one. */
  readonly onUnread: (count: number) => void
  /** Called once for a person with how far they had read the current room, on any device. */
  readonly onRead: (seq: number) => void
  /** The person leaves for a room of the list. */
  readonly onGo: (room: string) => void
}

export class Inbox {
  readonly #dialogs: Dialogs
  readonly #line: Line
  readonly #present: string
  readonly #listener: InboxListener
  readonly #list: RoomList
  readonly #rooms = new Map<string, Dialog>()
  #user = ''
  #isFirst = true
  #seen = 0
  #marked = 0
  #markTimer: ReturnType<typeof setTimeout> | undefined
  #drawTimer: ReturnType<typeof setTimeout> | undefined

  constructor(dialogs: Dialogs, line: Line, present: string, listener: InboxListener) {
    this.#dialogs = dialogs
    this.#line = line
    this.#present = present
    this.#listener = listener
    this.#list = new RoomList(present, room => listener.onGo(room))
    line.onDialogs(news => this.#take(news))
    // What was today is "Mon" then.
    onNewDay(() => this.#draw())
  }

  setUser(user: string): void {
    this.#user = user
    this.#rooms.clear()
    this.#isFirst = true
    this.#marked = 0
    this.#list.showBehind(false)
    this.#line.follow(user)
    this.#draw()
  }

  /** The person has seen the room up to here. This is reported at most every few seconds. */
  read(seq: number): void {
    this.#seen = Math.max(this.#seen, seq)
    // Only a member has a mark.
    if (!this.#rooms.has(this.#present) || this.#seen <= this.#marked) return
    this.#markTimer ??= setTimeout(() => {
      this.#markTimer = undefined
      this.#marked = this.#seen
      this.#dialogs.markRead(this.#present, this.#user, this.#marked).catch(() => {
        // If it fails, the next message tries again.
        this.#marked = 0
      })
    }, MARK_MS)
  }

  #take(news: DialogNews): void {
    // What was on its way when the person removed the name is dropped.
    if (this.#user === '') return
    if (news.type === 'dialogs-behind') return this.#list.showBehind(true)
    if (news.type === 'left') this.#rooms.delete(news.room)
    if (news.type === 'dialog') this.#rooms.set(news.dialog.room, news.dialog)
    if (news.type === 'dialogs') {
      this.#list.showBehind(false)
      this.#rooms.clear()
      for (const dialog of news.dialogs) this.#rooms.set(dialog.room, dialog)
    }
    this.#compareMarks()
    this.#drawTimer ??= setTimeout(() => this.#draw(), DRAW_MS)
  }

  #compareMarks(): void {
    const here = this.#rooms.get(this.#present)
    if (here === undefined) return
    if (this.#isFirst) {
      this.#draw()
      this.#list.showPresent()
      this.#listener.onRead(here.read)
    }
    this.#isFirst = false
    this.#marked = Math.max(this.#marked, here.read)
    this.read(this.#seen)
  }

  #draw(): void {
    clearTimeout(this.#drawTimer)
    this.#drawTimer = undefined
    const dialogs = [...this.#rooms.values()].sort(byActivity)
    const others = visitedRooms().filter(room => !this.#rooms.has(room))
    this.#list.draw([
      ...dialogs.map(dialog => ({
        room: dialog.room,
        unread: dialog.unread,
        last: lineOf(dialog.last, this.#user),
        isGone: dialog.last !== null && 'deleted' in dialog.last,
        at: atOf(dialog)
      })),
      ...others.map(room => ({ room, unread: 0, last: '', isGone: false, at: '' }))
    ])
    const elsewhere = dialogs.filter(({ room }) => room !== this.#present)
    this.#listener.onUnread(elsewhere.reduce((sum, { unread }) => sum + unread, 0))
  }
}

/** The newest message first; a dialog without one comes last. */
function byActivity(a: Dialog, b: Dialog): number {
  return atOf(b).localeCompare(atOf(a)) || a.room.localeCompare(b.room)
}

const atOf = ({ last }: Dialog): string => (last !== null && 'at' in last ? last.at : '')

function lineOf(last: Dialog['last'], user: string): string {
  if (last !== null && 'deleted' in last) return 'Message deleted'
  if (last === null || !('text' in last)) return ''
  const text = last.text.slice(0, LINE_LENGTH).replaceAll('`', '').replaceAll(/\s+/g, ' ')
  return `${last.user === user ? 'You' : last.user}: ${text}`
}
