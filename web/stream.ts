// The room's stream of events: one EventSource at a time, from OPEN to CLOSE. Its cursor is the last id that came, and
// outlives the EventSource: every connection after the first asks for what came after it, so nothing is missed and
// little is sent twice (what is, the transcript drops).
//
// A browser reconnects by itself when a connection breaks, but gives up for good when it is answered with an error, which
// is what a restarting service does. From there on this file reconnects, with backoff, until CLOSE.
import { backoffMs } from './backoff.js'
import { type Entry, parseEntry, parseObject } from './message.js'
import type { Room } from './room.js'

export type StreamState = 'closed' | 'connecting' | 'history' | 'live' | 'reconnecting'

export interface StreamListener {
  onState: (state: StreamState) => void
  onEntry: (entry: Entry) => void
  /** The room was rewound below what this reader had seen: all of it is void, and what is valid follows. */
  onReset: () => void
}

export class Stream {
  readonly #room: Room
  readonly #listener: StreamListener
  #source: EventSource | undefined
  #timer: number | undefined
  #cursor = ''
  #failures = 0
  #state: StreamState = 'closed'

  constructor (room: Room, listener: StreamListener) {
    this.#room = room
    this.#listener = listener
  }

  get state (): StreamState {
    return this.#state
  }

  /** Begins, or goes on after the last message seen. Does nothing while it is open. */
  open (): void {
    if (this.#state !== 'closed') return
    this.#become('connecting')
    this.#connect()
  }

  close (): void {
    this.#disconnect()
    this.#become('closed')
  }

  /** Ends the wait for the next attempt, for when the browser says that the network is back. */
  hurry (): void {
    if (this.#state === 'reconnecting') this.#connect()
  }

  #connect (): void {
    this.#disconnect()
    const source = new EventSource(this.#room.eventsUrl(this.#cursor))
    this.#source = source
    source.onopen = () => this.#become('history')
    source.onerror = () => {
      this.#become('reconnecting')
      if (source.readyState === EventSource.CLOSED) this.#connectLater()
    }
    source.onmessage = (event) => {
      this.#cursor = event.lastEventId
      this.#listener.onEntry(parseEntry(JSON.parse(event.data)))
    }
    source.addEventListener('lost', (event) => {
      this.#cursor = event.lastEventId
      this.#listener.onEntry(parseEntry({ ...parseObject(JSON.parse(event.data)), lost: true }))
    })
    source.addEventListener('live', (event) => {
      this.#cursor = event.lastEventId
      // Only now: a service that accepts and then breaks off is not well either.
      this.#failures = 0
      this.#become('live')
    })
    source.addEventListener('reset', (event) => {
      this.#cursor = event.lastEventId
      this.#become('history')
      this.#listener.onReset()
    })
  }

  #connectLater (): void {
    this.#failures++
    this.#timer = setTimeout(() => this.#connect(), backoffMs(this.#failures))
  }

  #disconnect (): void {
    clearTimeout(this.#timer)
    this.#source?.close()
    this.#source = undefined
  }

  #become (state: StreamState): void {
    if (state === this.#state) return
    this.#state = state
    this.#listener.onState(state)
  }
}
