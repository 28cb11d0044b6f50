// What the page reads of its room, from OPEN to CLOSE: the newest page of messages first, then
// everything behind it over the line to the switchboard. The place reached outlives CLOSE, so OPEN
// goes on where the page was.
//
// The page of messages is asked for over plain HTTP, because its answer also tells for good whether
// the service accepts the room's name: a name that it refuses would end the stream that all pages
// of the browser share.
import { Backoff } from './backoff.js'
import { cursorOf } from './cursor.js'
import { Line } from './line.js'
import type { Entry } from './message.js'
import { FIRST_PAGE_SIZE, Refusal, type Room } from './room.js'
import type { RoomState, ToPage } from './wire.js'

export type StreamState = 'closed' | RoomState

export interface StreamListener {
  readonly onState: (state: StreamState) => void
  readonly onEntry: (entry: Entry) => void
  /**
   * The room was rewound below what this reader had seen: all of it is void, and what is valid
   * follows.
   */
  readonly onReset: () => void
  /** The service refuses the room for good. */
  readonly onRefused: (refusal: Refusal) => void
}

export class Stream {
  readonly #room: Room
  readonly #listener: StreamListener
  readonly #line: Line
  #opening = new AbortController()
  #cursor: string | undefined
  #state: StreamState = 'closed'

  constructor(room: Room, listener: StreamListener) {
    this.#room = room
    this.#listener = listener
    this.#line = new Line(room.base, message => this.#take(message))
  }

  get state(): StreamState {
    return this.#state
  }

  /** Begins, or goes on after the last message seen. Does nothing while it is open. */
  open(): void {
    if (this.#state !== 'closed') return
    this.#become('connecting')
    this.#start()
  }

  close(): void {
    this.#opening.abort()
    this.#line.leave()
    this.#become('closed')
  }

  #start(): void {
    this.#opening = new AbortController()
    const { signal } = this.#opening
    this.#readFirst(signal).then(
      () => {
        if (!signal.aborted) this.#line.join(this.#room.name, this.#cursor ?? '0')
      },
      (error: unknown) => {
        if (signal.aborted) return
        if (!(error instanceof Refusal)) throw error
        this.close()
        this.#listener.onRefused(error)
      }
    )
  }

  /** Tries until it has the newest messages. @throws Refusal for good */
  async #readFirst(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff()
    while (this.#cursor === undefined) {
      try {
        const entries = await this.#room.readPage({ limit: FIRST_PAGE_SIZE }, signal)
        for (const entry of entries) this.#listener.onEntry(entry)
        const last = entries.at(-1)
        this.#cursor = last === undefined ? '0' : cursorOf(last)
      } catch (error) {
        if (signal.aborted || (error instanceof Refusal && !error.isTemporary)) throw error
        this.#become('reconnecting')
        await backoff.wait(error instanceof Refusal ? error.retryAfterMs : 0)
        signal.throwIfAborted()
      }
    }
  }

  #take(message: ToPage): void {
    switch (message.type) {
      case 'state':
        return this.#become(message.state)
      case 'entry':
        this.#cursor = message.cursor
        return this.#listener.onEntry(message.entry)
      case 'reset':
        this.#cursor = undefined
        this.#become('connecting')
        this.#listener.onReset()
        this.#start()
    }
  }

  #become(state: StreamState): void {
    if (state === this.#state) return
    this.#state = state
    this.#listener.onState(state)
  }
}
