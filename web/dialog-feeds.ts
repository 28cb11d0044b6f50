// The dialogs of the people who use this browser's pages: one stream for each person, however many
// pages follow them. Invariant: a page that follows a person gets the state of all their dialogs
// first and then each change, so its list is right after every reconnection. The states are cached,
// so another page costs the service nothing.
import { type Dialog, type Dialogs } from '../src/client/dialogs.js'
import { pause } from '../src/client/pause.js'
import { isPermanent } from '../src/client/refusal.js'
import { type Reader, type ToPage } from './wire.js'

/** A page that is reloaded leaves and comes back within this time. */
const LINGER_MS = 1000
/**
 * How long to wait after the service refused the stream: the token has expired, or may get the
 * right later.
 */
const REFUSED_MS = 30_000

export class DialogFeeds {
  readonly #dialogs: Dialogs
  readonly #feeds = new Map<string, Feed>()

  constructor(dialogs: Dialogs) {
    this.#dialogs = dialogs
  }

  /** A page follows one person at a time; an empty name is nobody. */
  follow(reader: Reader, user: string): void {
    this.leave(reader)
    if (user === '') return
    let feed = this.#feeds.get(user)
    if (feed === undefined) {
      feed = new Feed(this.#dialogs, user, () => this.#feeds.delete(user))
      this.#feeds.set(user, feed)
    }
    feed.add(reader)
  }

  leave(reader: Reader): void {
    for (const feed of this.#feeds.values()) feed.remove(reader)
  }
}

class Feed {
  readonly #user: string
  readonly #onEnd: () => void
  readonly #end = new AbortController()
  readonly #readers = new Set<Reader>()
  readonly #rooms = new Map<string, Dialog>()
  /** Whether the state of every dialog has arrived. */
  #isKnown = false
  /** Whether some states may be out of date: the stream is down, or the service cannot read all. */
  #isBehind = false
  #linger: ReturnType<typeof setTimeout> | undefined

  constructor(dialogs: Dialogs, user: string, onEnd: () => void) {
    this.#user = user
    this.#onEnd = onEnd
    void this.#run(dialogs)
  }

  add(reader: Reader): void {
    clearTimeout(this.#linger)
    this.#readers.add(reader)
    if (this.#isKnown) reader.send(this.#all())
    if (this.#isBehind) reader.send({ type: 'dialogs-behind' })
  }

  remove(reader: Reader): void {
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return
    this.#linger = setTimeout(() => {
      this.#end.abort()
      this.#onEnd()
    }, LINGER_MS)
  }

  async #run(dialogs: Dialogs): Promise<void> {
    const { signal } = this.#end
    while (!signal.aborted) {
      try {
        await this.#read(dialogs, signal)
      } catch (error) {
        if (!isPermanent(error)) throw error
      }
      await pause(REFUSED_MS, { signal })
    }
  }

  /** @throws Refusal when the service refuses the stream */
  async #read(dialogs: Dialogs, signal: AbortSignal): Promise<void> {
    for await (const event of dialogs.inbox(this.#user, { signal })) {
      if (event.type === 'room') {
        this.#rooms.set(event.dialog.room, event.dialog)
        if (this.#isKnown) this.#tell({ type: 'dialog', dialog: event.dialog })
      } else if (event.type === 'left') {
        this.#rooms.delete(event.room)
        this.#tell({ type: 'left', room: event.room })
      } else if (event.type === 'live') {
        this.#keepOnly(event.isComplete ? new Set(event.rooms) : undefined)
        this.#isKnown = true
        this.#isBehind = false
        this.#tell(this.#all())
      } else if (event.type === 'behind' || event.type === 'down') {
        if (!this.#isBehind) this.#tell({ type: 'dialogs-behind' })
        this.#isBehind = true
      }
    }
  }

  /** A room that the person left while the stream was down is simply missing from the new list. */
  #keepOnly(rooms: ReadonlySet<string> | undefined): void {
    if (rooms === undefined) return
    for (const room of this.#rooms.keys()) if (!rooms.has(room)) this.#rooms.delete(room)
  }

  #all(): ToPage {
    return { type: 'dialogs', dialogs: [...this.#rooms.values()] }
  }

  #tell(message: ToPage): void {
    for (const reader of this.#readers) reader.send(message)
  }
}
