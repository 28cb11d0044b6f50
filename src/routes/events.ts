// Streams of rooms over HTTP: one room, or several on one connection. Parses where the client
// resumes, checks the right to read, opens the stream, and joins the rooms.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { CombinedCursor, CombinedOutput, SingleOutput } from '../live/output.js'
import { type JoinRequest } from '../live/reader.js'
import { parseCursor, type Cursor } from '../message/message.js'
import { type OperationContract } from './contract.js'
import { type SendError } from './errors.js'
import { openStream, type OpenStreamOptions, sendHeadOnly, streamErrors } from './open-stream.js'
import { checkRead } from './rights.js'
import { ERRORS, RoomParams } from './schemas.js'
import { EventsQuery, type Resuming, RoomsEventsQuery } from './stream-schemas.js'

export type EventRoutesOptions = OpenStreamOptions & {
  readonly sendError: SendError
  readonly roomsPerStreamMax: number
}

const LAST_MAX = 1_000_000_000

type Headers = FastifyRequest['headers']
/** One room's place in a combined cursor. */
type RoomCursor = { readonly text: string; readonly cursor: Cursor | undefined }

export async function eventRoutes(
  fastify: FastifyInstance,
  options: EventRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const { hub } = options
  const errorHandler = streamErrors(options)

  const oneRoom = {
    exposeHeadRoute: false,
    errorHandler,
    config: {
      contract: {
        id: 'followRoom',
        tag: 'streams',
        mediaType: 'text/event-stream'
      } satisfies OperationContract
    },
    schema: {
      summary: 'History, then live, as server-sent events',
      params: RoomParams,
      querystring: EventsQuery,
      response: ERRORS
    }
  }
  app.get('/rooms/:room/events', oneRoom, async (request, reply) => {
    const { room } = request.params
    await checkRead(request.caller, room)
    const asked = joinRequest(request)
    const { stream, leaveOnEnd } = openStream(request, reply, [room], options)
    leaveOnEnd(hub.join(room, new SingleOutput(stream), asked))
  })
  app.head('/rooms/:room/events', oneRoom, async (request, reply) => {
    await checkRead(request.caller, request.params.room)
    joinRequest(request)
    sendHeadOnly(reply)
  })

  const severalRooms = {
    exposeHeadRoute: false,
    errorHandler,
    config: {
      contract: {
        id: 'followRooms',
        tag: 'streams',
        mediaType: 'text/event-stream'
      } satisfies OperationContract
    },
    schema: {
      summary: 'Several rooms on one connection',
      querystring: RoomsEventsQuery,
      response: ERRORS
    }
  }
  app.get('/events', severalRooms, async (request, reply) => {
    const rooms = await readableRooms(request, options)
    const { cursors, last } = joinRequests(request, rooms.length)
    const { stream, leaveOnEnd } = openStream(request, reply, rooms, options)
    const combined = new CombinedCursor(cursors.map(({ text }) => text))
    for (const [index, room] of rooms.entries()) {
      leaveOnEnd(
        hub.join(room, new CombinedOutput(stream, combined, index), {
          after: cursors[index]?.cursor,
          last
        })
      )
    }
  })
  app.head('/events', severalRooms, async (request, reply) => {
    const rooms = await readableRooms(request, options)
    joinRequests(request, rooms.length)
    sendHeadOnly(reply)
  })
}

/**
 * The rooms that the query names. @throws DialogsError INVALID_QUERY, or FORBIDDEN if the caller
 * may not read one of them
 */
async function readableRooms(
  { query, caller }: Pick<FastifyRequest, 'caller'> & { readonly query: RoomsEventsQuery },
  { roomsPerStreamMax }: Pick<EventRoutesOptions, 'roomsPerStreamMax'>
): Promise<string[]> {
  const rooms = [query.room].flat()
  if (rooms.length > roomsPerStreamMax) {
    throw new DialogsError(
      'INVALID_QUERY',
      `A stream takes at most ${roomsPerStreamMax} rooms: open a second one.`
    )
  }
  if (new Set(rooms).size !== rooms.length) {
    throw new DialogsError('INVALID_QUERY', 'A room is named twice: name each once.')
  }
  for (const room of rooms) await checkRead(caller, room)
  return rooms
}

function joinRequest({
  query,
  headers
}: {
  readonly query: EventsQuery
  readonly headers: Headers
}): JoinRequest {
  const cursor = cursorOf(headers, query)
  return {
    after: cursor === undefined ? undefined : parseCursor(cursor),
    last: parseLast(query.last)
  }
}

function joinRequests(
  { query, headers }: { readonly query: RoomsEventsQuery; readonly headers: Headers },
  count: number
): { readonly cursors: RoomCursor[]; readonly last: number | undefined } {
  return { cursors: parseCursors(cursorOf(headers, query), count), last: parseLast(query.last) }
}

/**
 * The cursor at which a client resumes. The id of the last event that it has seen wins over the
 * `after` of its URL, because an EventSource repeats its URL when it reconnects. The id comes in
 * the header Last-Event-ID. Polyfills that cannot send headers put it into the query, as
 * lastEventId. An empty id counts as none: some clients send one before their first event.
 */
export function cursorOf(headers: Headers, query: Resuming): string | undefined {
  const seen = [headers['last-event-id'], query.lastEventId, query.lastEventID].find(
    id => id !== undefined && id !== ''
  )
  return seen === undefined ? query.after : String(seen)
}

// The place of a room that has not sent anything yet is empty. Such a room starts as the request
// says.
function parseCursors(text: string | undefined, count: number): RoomCursor[] {
  if (text === undefined) {
    return Array.from({ length: count }, () => ({ text: '', cursor: undefined }))
  }
  const parts = text.split(',')
  if (parts.length !== count) {
    throw new DialogsError(
      'INVALID_CURSOR',
      `The cursor has ${parts.length} places, but the request names ${count} rooms: resume with the same rooms in the same order.`
    )
  }
  return parts.map(part => ({ text: part, cursor: part === '' ? undefined : parseCursor(part) }))
}

function parseLast(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const last = Number(text)
  if (!/^\d+$/.test(text) || last > LAST_MAX) {
    throw new DialogsError(
      'INVALID_QUERY',
      `The parameter last must be a whole number from 0 to ${LAST_MAX}.`
    )
  }
  return last
}
