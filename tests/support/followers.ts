// Readers that come back with their last cursor whenever their stream ends, and keep what a page
// would show: the entries of a room, or the dialogs of a person.
import { SseReader, type Seen } from './sse.js'
import { type Told } from './chat-model.js'

const AGAIN_MS = 100

abstract class Follower {
  readonly #urls: readonly string[]
  readonly #path: string
  #reader: SseReader | undefined
  #timer: NodeJS.Timeout | undefined
  #turn: number
  #taken = 0
  #cursor = ''

  constructor(urls: readonly string[], path: string, first: number) {
    this.#urls = urls
    this.#path = path
    this.#turn = first
    this.#open()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#reader?.close()
  }

  /** Cuts its connection, like a bad network. */
  cut(): void {
    this.#reader?.close()
  }

  protected abstract take(event: Seen): void

  #open(): void {
    const url = this.#urls[this.#turn++ % this.#urls.length] ?? ''
    this.#reader = new SseReader(
      url + this.#path,
      this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }
    )
    this.#taken = 0
    clearInterval(this.#timer)
    this.#timer = setInterval(() => {
      this.#look()
    }, AGAIN_MS)
  }

  #look(): void {
    const reader = this.#reader
    if (reader === undefined) return
    for (const event of reader.events.slice(this.#taken)) {
      if (event.id !== '') this.#cursor = event.id
      this.take(event)
    }
    this.#taken = reader.events.length
    if (reader.hasEnded) this.#open()
  }
}

export class RoomFollower extends Follower {
  readonly room: string
  /** What it must never be told. */
  readonly faults: string[] = []
  readonly #entries = new Map<number, Told>()
  #last = 0

  constructor(urls: readonly string[], room: string, first: number) {
    super(urls, `/rooms/${encodeURIComponent(room)}/events`, first)
    this.room = room
  }

  get entries(): Told[] {
    return [...this.#entries.values()].sort((a, b) => a.seq - b.seq)
  }

  protected take({ event, data }: Seen): void {
    const seq = Number(data['seq'])
    if (['message', 'changed', 'deleted'].includes(event)) {
      if (seq <= this.#last) this.faults.push(`${event} ${seq} after ${this.#last}`)
      this.#last = seq
    }
    if (event === 'message') {
      this.#entries.set(seq, { seq, user: String(data['user']), text: String(data['text']) })
    } else if (event === 'deleted') this.#entries.set(seq, { seq, deleted: true })
    else if (event === 'changed') this.#change(seq, data)
    else if (event === 'reset') {
      if (data['reason'] !== 'deleted') this.faults.push(JSON.stringify(data))
      this.#entries.clear()
      this.#last = 0
    } else if (event === 'lost') this.faults.push(`lost ${JSON.stringify(data)}`)
  }

  // All changes of a message show what it says now.
  #change(seq: number, data: Seen['data']): void {
    const changes = Number(data['changes'])
    const text = data['deleted'] === true ? undefined : String(data['text'])
    const known = this.#entries.get(changes)
    if (known !== undefined && 'user' in known && text !== undefined) {
      this.#entries.set(changes, { ...known, text })
    } else if (known !== undefined && text === undefined) {
      this.#entries.set(changes, { seq: changes, deleted: true })
    }
    this.#entries.set(seq, { seq, changes, text })
    for (const entry of this.#entries.values()) {
      if ('changes' in entry && entry.changes === changes) {
        this.#entries.set(entry.seq, { ...entry, text })
      }
    }
  }
}

export type DialogSeen = { readonly room: string; readonly head: number; readonly unread: number }

export class PersonFollower extends Follower {
  readonly user: string
  readonly #dialogs = new Map<string, DialogSeen>()

  constructor(urls: readonly string[], user: string, first: number) {
    super(urls, `/users/${encodeURIComponent(user)}/events`, first)
    this.user = user
  }

  get dialogs(): DialogSeen[] {
    return [...this.#dialogs.values()].sort((a, b) => (a.room < b.room ? -1 : 1))
  }

  protected take({ event, data }: Seen): void {
    const room = String(data['room'])
    if (event === 'room') {
      this.#dialogs.set(room, {
        room,
        head: Number(data['head']),
        unread: Number(data['unread'])
      })
    } else if (event === 'left') this.#dialogs.delete(room)
    else if (event === 'live' && data['complete'] === true) {
      const there = new Set(data['rooms'] as readonly string[])
      for (const known of this.#dialogs.keys()) if (!there.has(known)) this.#dialogs.delete(known)
    }
  }
}
