// Server-Sent Events without an end: read by `fetch`, and opened again after every failure.
// Invariant: `down` is yielded before the stream has been silent for two heartbeats, so that a dead
// network never looks like a quiet room. Nothing is read ahead of the caller by more than one
// chunk, and while the caller does not read, silence is not counted.
//
// Does not know where to resume: the caller is asked for the query before each attempt.
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { fieldsOf } from './answers.js'
import { type Http, type Query } from './http.js'
import { backoffMs, pause } from './pause.js'
import { isPermanent, Refusal } from './refusal.js'
import { Watchdog } from './watchdog.js'

/** Until the first ping of a stream tells its interval, this one is assumed. */
const HEARTBEAT_MS_DEFAULT = 15_000
/**
 * After this many silent intervals a connection counts as dead. What is left of two intervals is
 * the time to come back.
 */
const SILENT_INTERVALS_MAX = 4 / 3
/** How long the first event of a new connection may take. */
const OPEN_MS_MAX = 10_000
/**
 * A network that has swallowed one connection has swallowed the idle ones as well, up to six, and a
 * browser sends new requests over those. So the first attempts after a silence are short: each one
 * that fails takes one dead connection out of the way.
 */
const SHORT_ATTEMPTS = 6
const SHORT_INTERVALS = 1 / 12
const SHORT_MS_MAX = 1000
/** A frame is far smaller: whatever sends more without an end is not this service. */
const EVENT_LENGTH_MAX = 4 * 1024 * 1024

export type RawEvent =
  /** The service has answered, and events follow. */
  | { readonly type: 'open' }
  /** The connection is gone; another one is tried after `pauseMs`. */
  | { readonly type: 'down'; readonly error: unknown; readonly pauseMs: number }
  | { readonly type: 'event'; readonly event: EventSourceMessage }

export type EventStreamRequest = {
  readonly path: string
  /** Asked before each attempt. */
  readonly query: () => Query | URLSearchParams
  /** Sent as Last-Event-ID unless undefined; asked before each attempt. */
  readonly lastEventId?: () => string | undefined
  readonly signal?: AbortSignal | undefined
}

export class Silence extends Error {
  constructor() {
    super('The connection has been silent for too long.')
    this.name = 'Silence'
  }
}

/** Ends when the signal aborts. @throws Refusal when the service refuses for good */
export async function* readEvents(
  http: Http,
  request: EventStreamRequest
): AsyncGenerator<RawEvent, void> {
  const { signal, ...where } = request
  const state: State = { heartbeatMs: HEARTBEAT_MS_DEFAULT, retryMs: 0, isWell: false }
  let failures = 0
  let shortAttempts = 0
  const hasEnded = (): boolean => signal?.aborted === true
  while (!hasEnded()) {
    const shortMs = Math.min(SHORT_MS_MAX, SHORT_INTERVALS * state.heartbeatMs)
    const openMsMax = shortAttempts > 0 ? shortMs : OPEN_MS_MAX
    let error: unknown
    let isOpen = false
    state.isWell = false
    try {
      for await (const event of readConnection(http, { ...where, signal, openMsMax }, state)) {
        if (!isOpen) yield { type: 'open' }
        isOpen = true
        if (event.event === 'live') state.isWell = true
        if (event.event !== 'ping') yield { type: 'event', event }
      }
    } catch (failure) {
      if (hasEnded()) return
      if (isPermanent(failure)) throw failure
      error = failure
    }
    // Failures are forgotten only here: a service that accepts a connection and then breaks it off
    // is not well either.
    if (state.isWell) failures = 0
    if (isOpen && error instanceof Silence) shortAttempts = SHORT_ATTEMPTS
    else if (error instanceof Silence && shortAttempts > 0) shortAttempts--
    else shortAttempts = 0

    const msMin = error instanceof Refusal ? error.retryAfterMs : 0
    const pauseMs =
      shortAttempts > 0
        ? 0
        : Math.max(msMin, state.retryMs, failures++ > 0 ? backoffMs(failures) : 0)
    yield { type: 'down', error, pauseMs }
    await pause(pauseMs, { msMin, signal, network: http.network })
  }
}

type State = {
  heartbeatMs: number
  /** The pause that the service asked for last. */
  retryMs: number
  isWell: boolean
}

type Attempt = EventStreamRequest & { readonly openMsMax: number }

/** One connection, from the request to its end. @throws Silence, Refusal, or what `fetch` throws */
async function* readConnection(
  http: Http,
  { path, query, lastEventId, signal, openMsMax }: Attempt,
  state: State
): AsyncGenerator<EventSourceMessage, void> {
  const connection = new AbortController()
  const watchdog = new Watchdog(() => connection.abort(new Silence()))
  const end = (): void => connection.abort(signal?.reason)
  signal?.addEventListener('abort', end)
  try {
    watchdog.expectWithin(openMsMax)
    const id = lastEventId?.()
    const response = await http.open(path, {
      query: query(),
      headers: {
        accept: 'text/event-stream',
        ...(id === undefined ? {} : { 'last-event-id': id })
      },
      signal: connection.signal
    })
    let events: EventSourceMessage[] = []
    const parser = createParser({
      onEvent: event => events.push(event),
      onRetry: ms => {
        state.retryMs = ms
      },
      maxBufferSize: EVENT_LENGTH_MAX
    })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    if (reader === undefined) return
    for (;;) {
      const { value, done } = await reader.read()
      watchdog.hold()
      if (done) return
      parser.feed(value)
      const batch = events
      events = []
      for (const event of batch) {
        if (event.event === 'ping') noteHeartbeat(event.data, state)
        yield event
      }
      watchdog.expectWithin(SILENT_INTERVALS_MAX * state.heartbeatMs)
    }
  } catch (error) {
    // Browsers reject with the reason of the abort, but not all of them do so while a body is read.
    throw connection.signal.aborted ? connection.signal.reason : error
  } finally {
    signal?.removeEventListener('abort', end)
    watchdog.stop()
    connection.abort()
  }
}

function noteHeartbeat(data: string, state: State): void {
  const { heartbeatMs } = fieldsOf(JSON.parse(data))
  if (typeof heartbeatMs === 'number') state.heartbeatMs = heartbeatMs
}
