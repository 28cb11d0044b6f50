// Streams of rooms over HTTP: one room, or several on one connection. Parses where the client
// resumes, checks the right to read, opens the stream, and joins the rooms.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { CombinedCursor, CombinedOutput, SingleOutput } from '../live/output.js'
import { type JoinRequest } from '../live/reader.js'
import { checkName } from '../message/names.js'
import { parseCursor, type Cursor } from '../message/message.js'
import { type OperationContract } from './contract.js'
import { type SendError } from './errors.js'
import { openStream, type OpenStreamOptions, sendHeadOnly, streamErrors } from './open-stream.js'
import { checkRead } from './rights.js'
import { ErrorAnswer, EventsQuery, type Resuming, RoomParams, RoomsEventsQuery } from './schemas.js'

export type EventRoutesOptions = OpenStreamOptions & {
  readonly sendError: SendError
  readonly roomsPerStreamMax: number
}

export const LAST_MAX = 1_000_000_000

type Headers = FastifyRequest['headers']
/** One room's place in a combined cursor. */
type Place = { readonly text: string; readonly cursor: Cursor | undefined }

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
      response: { '4xx': ErrorAnswer, '5xx': ErrorAnswer }
    }
  }
  const askedOne = ({
    params,
    query,
    headers
  }: {
    params: { room: string }
    query: EventsQuery
    headers: Headers
  }): { room: string; asked: JoinRequest } => {
    checkName('room', params.room)
    const cursor = cursorOf(headers, query)
    return {
      room: params.room,
      asked: {
        after: cursor === undefined ? undefined : parseCursor(cursor),
        last: parseLast(query.last)
      }
    }
  }
  app.get('/rooms/:room/events', oneRoom, async (request, reply) => {
    const { room, asked } = askedOne(request)
    await checkRead(request.caller, room)
    const { stream, leaveOnEnd } = openStream(request, reply, [room], options)
    leaveOnEnd(hub.join(room, new SingleOutput(stream), asked))
  })
  app.head('/rooms/:room/events', oneRoom, async (request, reply) => {
    const { room } = askedOne(request)
    await checkRead(request.caller, room)
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
      response: { '4xx': ErrorAnswer, '5xx': ErrorAnswer }
    }
  }
  const askedSeveral = ({
    query,
    headers
  }: {
    query: RoomsEventsQuery
    headers: Headers
  }): { rooms: string[]; cursors: Place[]; last: number | undefined } => {
    const rooms = [query.room].flat()
    if (rooms.length > options.roomsPerStreamMax) {
      throw new DialogsError(
        'INVALID_QUERY',
        `A stream takes at most ${options.roomsPerStreamMax} rooms: open a second one.`
      )
    }
    if (new Set(rooms).size !== rooms.length) {
      throw new DialogsError('INVALID_QUERY', 'A room is named twice: name each once.')
    }
    for (const room of rooms) checkName('room', room)
    return {
      rooms,
      cursors: parseCursors(cursorOf(headers, query), rooms.length),
      last: parseLast(query.last)
    }
  }
  app.get('/events', severalRooms, async (request, reply) => {
    const { rooms, cursors, last } = askedSeveral(request)
    for (const room of rooms) await checkRead(request.caller, room)
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
    const { rooms } = askedSeveral(request)
    for (const room of rooms) await checkRead(request.caller, room)
    sendHeadOnly(reply)
  })
}

/**
 * Where the client resumes: what it has seen itself takes precedence over what its URL says. An
 * EventSource without an id sends no header, some clients send an empty one, and polyfills that
 * cannot send the header put lastEventId into the query.
 */
export function cursorOf(headers: Headers, query: Resuming): string | undefined {
  const seen = [headers['last-event-id'], query.lastEventId, query.lastEventID].find(
    id => id !== undefined && id !== ''
  )
  return seen === undefined ? query.after : String(seen)
}

// A room that had not sent anything yet has an empty place in the id; it starts as requested.
function parseCursors(text: string | undefined, count: number): Place[] {
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
