// What the page reads of its room, from OPEN to CLOSE: the newest page of messages first, then
// everything after it over the line to the exchange. The place outlives CLOSE, so OPEN continues
// where the page was.
//
// The page of messages is requested over plain HTTP, because its answer also says definitely
// whether the service accepts the room's name: a refused name would end the stream that all pages
// of the browser share.
import { Refusal } from '../src/client/dialogs.js'
import { backoffMs, pause } from '../src/client/pause.js'
import { isPermanent } from '../src/client/refusal.js'
import { cursorOf } from './cursor.js'
import { type Entry } from './entry.js'
import { type Line, type RoomNews } from './line.js'
import { FIRST_PAGE_SIZE, type Room } from './room.js'
import { type RoomState, type Signal } from './wire.js'

/** If the stream is refused but the room is not, the cause is another page's room. */
const ASK_AGAIN_MS = 2000
/**
 * Everybody in a room is reset at the same moment. Each page waits for a random part of this, so
 * that not all of them ask for the newest messages at once.
 */
const RESET_MS_MAX = 3000

/** `refused`: there is no right to read the room, or it has ended. */
export type StreamState = 'closed' | 'refused' | RoomState

export type StreamListener = {
  /** @param inMs time until the next attempt, while reconnecting */
  readonly onState: (state: StreamState, inMs: number) => void
  /** The newest page, before anything else. */
  readonly onFirst: (entries: readonly Entry[]) => void
  readonly onEntry: (entry: Entry) => void
  readonly onSignal: (signal: Signal) => void
  /**
   * Everything that this reader has seen is void, and what is valid follows. The reason is the
   * service's word.
   */
  readonly onReset: (reason: string) => void
  /** The service refuses the room for good, or until the page gets the right to it. */
  readonly onRefused: (refusal: Refusal) => void
}

export class Stream {
  readonly #room: Room
  readonly #listener: StreamListener
  readonly #line: Line
  #opening = new AbortController()
  #cursor: string | undefined
  #state: StreamState = 'closed'

  constructor(room: Room, line: Line, listener: StreamListener) {
    this.#room = room
    this.#line = line
    this.#listener = listener
    line.onRoom(news => this.#take(news))
  }

  get state(): StreamState {
    return this.#state
  }

  /** Starts, or continues after the last message seen. Does nothing while it is open. */
  open(): void {
    if (this.#state !== 'closed' && this.#state !== 'refused') return
    this.#become('connecting')
    this.#start()
  }

  close(): void {
    this.#opening.abort()
    this.#line.leave()
    this.#become('closed')
  }

  #start(pauseMs = 0): void {
    this.#opening = new AbortController()
    const { signal } = this.#opening
    this.#readFirst(pauseMs, signal).then(
      () => {
        if (!signal.aborted) this.#line.join(this.#room.name, this.#cursor ?? '0')
      },
      (error: unknown) => {
        if (signal.aborted) return
        if (!(error instanceof Refusal)) throw error
        this.#refused(error)
      }
    )
  }

  #refused(refusal: Refusal): void {
    this.close()
    if (refusal.status === 401 || refusal.status === 403) this.#become('refused')
    this.#listener.onRefused(refusal)
  }

  /** Tries until it has the newest messages. @throws Refusal for good */
  async #readFirst(pauseMs: number, signal: AbortSignal): Promise<void> {
    if (pauseMs > 0) await pause(pauseMs, { signal })
    signal.throwIfAborted()
    for (let failures = 1; this.#cursor === undefined; failures++) {
      try {
        const { head, messages } = await this.#room.readNewest(FIRST_PAGE_SIZE, signal)
        this.#listener.onFirst(messages)
        const last = messages.at(-1)
        // Where all messages were deleted or have expired, the room goes on behind them. From 0 the
        // stream would be reset at once, and again after each reset.
        this.#cursor = last === undefined ? String(head) : cursorOf(last)
      } catch (error) {
        if (signal.aborted || isPermanent(error)) throw error
        const msMin = error instanceof Refusal ? error.retryAfterMs : 0
        const ms = Math.max(msMin, backoffMs(failures))
        this.#become('reconnecting', ms)
        await pause(ms, { msMin, signal })
        signal.throwIfAborted()
      }
    }
  }

  /** Waits, then asks whether the room is still allowed. @throws Refusal if it is not */
  async #askAgain(signal: AbortSignal): Promise<void> {
    this.#become('reconnecting')
    await pause(ASK_AGAIN_MS, { signal })
    try {
      await this.#room.readPage({ limit: 1 }, signal)
    } catch (error) {
      if (isPermanent(error)) throw error
    }
  }

  #take(message: RoomNews): void {
    switch (message.type) {
      case 'state':
        return this.#become(message.state, message.inMs)
      case 'entry':
        this.#cursor = message.cursor
        return this.#listener.onEntry(message.entry)
      case 'signal':
        return this.#listener.onSignal(message.signal)
      case 'refused': {
        const { signal } = (this.#opening = new AbortController())
        this.#askAgain(signal).then(
          () => {
            if (!signal.aborted) this.#line.join(this.#room.name, this.#cursor ?? '0')
          },
          (error: unknown) => {
            if (signal.aborted) return
            if (!(error instanceof Refusal)) throw error
            this.#refused(error)
          }
        )
        return
      }
      case 'reset':
        this.#cursor = undefined
        this.#become('connecting')
        this.#listener.onReset(message.reason)
        this.#start(Math.random() * RESET_MS_MAX)
    }
  }

  #become(state: StreamState, inMs = 0): void {
    if (state === this.#state && inMs === 0) return
    this.#state = state
    this.#listener.onState(state, inMs)
  }
}
