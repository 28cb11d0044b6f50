// Rooms as one endless stream of events: history from a place, then live. Invariant: each room's
// entries come once and in order, over all reconnections, or `reset` says that what was read is
// void. Keeps one cursor for each room, and resumes after it.
import { type EventSourceMessage } from 'eventsource-parser'
import {
  type Change,
  changeOf,
  type DeletedMessage,
  deletedOf,
  fieldsOf,
  type Message,
  messageOf
} from './answers.js'
import { readEvents } from './event-stream.js'
import { type Http } from './http.js'

/** `cursor` is the place right after the event: as `after`, it continues a stream there. */
type Placed = { readonly room: string; readonly cursor: string }

export type StreamEvent =
  | (Placed & { readonly type: 'message'; readonly message: Message })
  /** A shard has lost the message. */
  | (Placed & { readonly type: 'lost'; readonly seq: number })
  /** A message that had been deleted before this stream reached it. */
  | (Placed & { readonly type: 'deleted'; readonly message: DeletedMessage })
  /** An earlier message was edited or deleted. */
  | (Placed & { readonly type: 'changed'; readonly change: Change })
  /** All of the room's history has arrived. What follows has just been written. */
  | (Placed & { readonly type: 'live'; readonly head: number })
  /** The service cannot read the room: messages may be missing until the next `live`. */
  | { readonly type: 'behind'; readonly room: string }
  /** What was read of the room is void. The room begins again, as `last` says. */
  | (Placed & { readonly type: 'reset'; readonly reason: string; readonly head: number })
  /** The right to read the room has ended; the stream goes on without it. */
  | { readonly type: 'removed'; readonly room: string }
  /** Typing and the like: stored nowhere. */
  | {
      readonly type: 'signal'
      readonly room: string
      readonly user: string
      readonly kind: string
      readonly data: unknown
    }
  /** Connected: entries follow. */
  | { readonly type: 'open' }
  /** Not connected. Another attempt follows after `pauseMs`. */
  | { readonly type: 'down'; readonly error: unknown; readonly pauseMs: number }
  /** The token has expired and there is no other: the last event. */
  | { readonly type: 'expired' }

export type StreamOptions = {
  /** Where to begin: a cursor, or one for each room. Default: the whole history. */
  readonly after?: string | number | Readonly<Record<string, string | number>> | undefined
  /** Without a cursor, and after a reset: begin with this many of the newest entries. */
  readonly last?: number | undefined
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined
}

/** @throws Refusal when the service refuses for good: a bad name, no right, too many rooms */
export async function* readRooms(
  http: Http,
  asked: readonly string[],
  { after, last, signal }: StreamOptions
): AsyncGenerator<StreamEvent, void> {
  const rooms = [...asked]
  const cursors = rooms.map(room => String((typeof after === 'object' ? after[room] : after) ?? ''))
  const query = (): URLSearchParams => {
    const query = new URLSearchParams()
    for (const room of rooms) query.append('room', room)
    if (cursors.some(cursor => cursor !== '')) query.set('after', cursors.join(','))
    if (last !== undefined) query.set('last', String(last))
    return query
  }
  for await (const raw of readEvents(http, { path: 'events', query, signal })) {
    if (raw.type !== 'event') {
      yield raw
      continue
    }
    if (raw.event.event === 'expired') {
      if (http.canRenew) http.forgetToken()
      else return yield { type: 'expired' }
      continue
    }
    const event = eventOf(raw.event, rooms)
    if (event === undefined) continue
    if (event.type === 'removed') {
      const index = rooms.indexOf(event.room)
      rooms.splice(index, 1)
      cursors.splice(index, 1)
    }
    if ('cursor' in event) cursors[rooms.indexOf(event.room)] = event.cursor
    yield event
    if (rooms.length === 0) return
  }
}

/** @returns undefined for a kind of event that this version does not know */
function eventOf(
  { id, event: type = 'message', data }: EventSourceMessage,
  rooms: readonly string[]
): StreamEvent | undefined {
  const fields = fieldsOf(JSON.parse(data))
  const room = String(fields['room'])
  if (type === 'signal') {
    return {
      type,
      room,
      user: String(fields['user']),
      kind: String(fields['kind']),
      data: fields['data']
    }
  }
  if (type === 'behind') return { type, room }
  if (type === 'removed') return rooms.includes(room) ? { type, room } : undefined
  const cursor = id?.split(',')[rooms.indexOf(room)]
  if (cursor === undefined) return undefined
  switch (type) {
    case 'message':
      return { type, room, cursor, message: messageOf(fields) }
    case 'lost':
      return { type, room, cursor, seq: Number(fields['seq']) }
    case 'deleted':
      return { type, room, cursor, message: deletedOf(fields) }
    case 'changed':
      return { type, room, cursor, change: changeOf(fields) }
    case 'live':
      return { type, room, cursor, head: Number(fields['head']) }
    case 'reset':
      return { type, room, cursor, reason: String(fields['reason']), head: Number(fields['head']) }
    default:
      return undefined
  }
}
