// One stream that reads a fixed list of rooms, by the service's client, which reconnects by itself
// and notices silence. This file keeps each room's place, and lets the previous stream continue
// until this one is open.
import { type Dialogs, Refusal, type StreamEvent } from '../src/client/dialogs.js'
import { type Entry } from './entry.js'
import { type Signal } from './wire.js'

export type ConnectionListener = {
  readonly onOpen: () => void
  readonly onDown: (inMs: number) => void
  readonly onEntry: (room: string, entry: Entry, cursor: string) => void
  readonly onLive: (room: string) => void
  /** Messages may be missing until the next onLive. */
  readonly onBehind: (room: string) => void
  /** @param reason the service's word */
  readonly onReset: (room: string, reason: string) => void
  readonly onSignal: (room: string, signal: Signal) => void
  /** The right to read the room has ended; the other rooms go on. */
  readonly onRemoved: (room: string) => void
  /** This connection has ended for good. */
  readonly onRefused: (refusal: Refusal) => void
}

export class Connection {
  readonly rooms: readonly string[]
  readonly #listener: ConnectionListener
  readonly #cursors: Map<string, string>
  readonly #end = new AbortController()
  #predecessor: Connection | undefined

  /**
   * @param cursors where to start in each room, in the order of `rooms`
   * @param predecessor continues until this connection is open or has failed; it is closed together
   * with this one
   */
  constructor(
    dialogs: Dialogs,
    rooms: readonly string[],
    cursors: readonly string[],
    listener: ConnectionListener,
    predecessor?: Connection
  ) {
    this.rooms = rooms
    this.#listener = listener
    this.#cursors = new Map(rooms.map((room, index) => [room, cursors[index] ?? '0']))
    this.#predecessor = predecessor
    void this.#run(dialogs)
  }

  /** The place in a room that the connection has reached. */
  cursorIn(room: string): string {
    return this.#cursors.get(room) ?? '0'
  }

  close(): void {
    this.#dismissPredecessor()
    this.#end.abort()
  }

  async #run(dialogs: Dialogs): Promise<void> {
    const { signal } = this.#end
    // After a reset the readers themselves ask for the newest messages.
    const options = { after: Object.fromEntries(this.#cursors), last: 0, signal }
    try {
      for await (const event of dialogs.stream(this.rooms, options)) {
        if (signal.aborted) return
        if ('cursor' in event) this.#cursors.set(event.room, event.cursor)
        this.#take(event)
      }
      // The right to read has expired, or has ended in every room. Each page asks about its own
      // room, and shows the answer.
      this.#refused(new Refusal(401, 'EXPIRED', 'The right to read has expired.'))
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof Refusal)) throw error
      this.#refused(error)
    }
  }

  #refused(refusal: Refusal): void {
    if (this.#end.signal.aborted) return
    this.#dismissPredecessor()
    this.#listener.onRefused(refusal)
  }

  #take(event: StreamEvent): void {
    switch (event.type) {
      case 'message':
        return this.#listener.onEntry(event.room, event.message, event.cursor)
      case 'deleted':
        return this.#listener.onEntry(event.room, event.message, event.cursor)
      case 'changed':
        return this.#listener.onEntry(event.room, event.change, event.cursor)
      case 'lost': {
        const { room, seq } = event
        return this.#listener.onEntry(room, { room, seq, lost: true }, event.cursor)
      }
      case 'live':
        return this.#listener.onLive(event.room)
      case 'behind':
        return this.#listener.onBehind(event.room)
      case 'reset':
        return this.#listener.onReset(event.room, event.reason)
      case 'removed':
        return this.#listener.onRemoved(event.room)
      case 'signal':
        return this.#listener.onSignal(event.room, event)
      case 'open':
        this.#dismissPredecessor()
        return this.#listener.onOpen()
      case 'down':
        this.#dismissPredecessor()
        return this.#listener.onDown(event.pauseMs)
    }
  }

  #dismissPredecessor(): void {
    this.#predecessor?.close()
    this.#predecessor = undefined
  }
}
