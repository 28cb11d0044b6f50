// A person's dialogs as one endless stream: first the state of each, then of each one that changes.
// Invariant: after every `live` the caller's list is right, if it takes each `room` as the new
// state of that dialog and drops the dialogs that a complete `live` does not name.
import { type EventSourceMessage } from 'eventsource-parser'
import { type Dialog, dialogOf, fieldsOf } from './answers.js'
import { readEvents } from './event-stream.js'
import { type Http, part } from './http.js'

export type InboxEvent =
  /** A dialog got a message, was read on another device, or was joined. */
  | { readonly type: 'room'; readonly dialog: Dialog; readonly cursor: string }
  | { readonly type: 'left'; readonly room: string }
  /** The service cannot read all dialogs: some may be out of date until the next `live`. */
  | { readonly type: 'behind' }
  /**
   * Every dialog has been told. If `isComplete` is false, there are more dialogs than `rooms`
   * names.
   */
  | {
      readonly type: 'live'
      readonly rooms: readonly string[]
      readonly isComplete: boolean
      readonly cursor: string
    }
  | { readonly type: 'open' }
  | { readonly type: 'down'; readonly error: unknown; readonly pauseMs: number }
  /** The token has expired and there is no other: the last event. */
  | { readonly type: 'expired' }

export type InboxOptions = {
  /** The `cursor` of an earlier event: begin with what has changed since. */
  readonly after?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Ends when the signal aborts. @throws Refusal when the service refuses for good */
export async function* readInbox(
  http: Http,
  user: string,
  { after, signal }: InboxOptions
): AsyncGenerator<InboxEvent, void> {
  let cursor = after
  const request = {
    path: `users/${part(user)}/events`,
    query: () => ({ after: cursor }),
    signal
  }
  for await (const raw of readEvents(http, request)) {
    if (raw.type !== 'event') {
      yield raw
      continue
    }
    if (raw.event.event === 'expired') {
      if (http.canRenew) http.forgetToken()
      else return yield { type: 'expired' }
      continue
    }
    cursor = raw.event.id ?? cursor
    const event = eventOf(raw.event, cursor ?? '')
    if (event !== undefined) yield event
  }
}

/** @returns undefined for a kind of event that this version does not know */
function eventOf(
  { event: type, data }: EventSourceMessage,
  cursor: string
): InboxEvent | undefined {
  if (type === 'room') return { type, dialog: dialogOf(JSON.parse(data)), cursor }
  if (type === 'behind') return { type }
  const { room, rooms, complete } = fieldsOf(JSON.parse(data))
  if (type === 'left') return { type, room: String(room) }
  if (type !== 'live' || !Array.isArray(rooms)) return undefined
  return { type, rooms: rooms.map(String), isComplete: complete === true, cursor }
}
