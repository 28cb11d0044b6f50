// Streaming over HTTP: one room, or several on one connection. Parses where the client stands,
// opens the stream, and joins. The head goes out through Node's response, everything after it
// straight to the socket (src/live/stream.ts): the body is delimited by the end of the connection,
// so there is no chunk to frame and the same bytes serve every reader. An EventSource takes any
// status but 200 as final. So what is only temporary (too many streams, stopping, overloaded) is
// answered 200, a time to come back after, and the end; a permanent fault gets its status. A client
// that accepts nothing but JSON always gets the status.
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError, isTemporary } from '../errors.js'
import { type Hub } from '../live/hub.js'
import { CombinedCursor, CombinedOutput, SingleOutput } from '../live/output.js'
import { type JoinRequest } from '../live/reader.js'
import { laterFrame, Stream, type EndReason } from '../live/stream.js'
import { checkName } from '../message/names.js'
import { parseCursor, type Cursor } from '../message/message.js'
import { type Connections } from './connections.js'
import { type OperationContract } from './contract.js'
import { type SendError } from './errors.js'
import { ErrorAnswer, EventsQuery, RoomParams, RoomsEventsQuery } from './schemas.js'

export type EventRoutesOptions = {
  readonly hub: Hub
  readonly connections: Pick<Connections, 'streams'>
  readonly isStopping: () => boolean
  readonly sendError: SendError
  readonly retryMs: number
  readonly heartbeatMs: number
  readonly socketBytesMax: number
  readonly streamsMax: number
  readonly roomsPerStreamMax: number
  readonly onEnd: (reason: EndReason) => void
  /** A client was told to come back later. */
  readonly onPutOff: (error: unknown) => void
}

const HEAD = {
  'content-type': 'text/event-stream; charset=utf-8',
  // no-transform and X-Accel-Buffering keep proxies from compressing or collecting what must go out
  // at once.
  'cache-control': 'no-cache, no-store, no-transform',
  'x-accel-buffering': 'no',
  connection: 'close'
} as const

export const LAST_MAX = 1_000_000_000

type Headers = FastifyRequest['headers']
/** A place in the cursor over several rooms. */
type Place = { readonly text: string; readonly cursor: Cursor | undefined }

export async function eventRoutes(
  fastify: FastifyInstance,
  options: EventRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const { hub } = options
  const errorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    if (!isTemporary(error) || acceptsJsonOnly(request.headers.accept)) {
      return options.sendError(error, request, reply)
    }
    options.onPutOff(error)
    putOff(reply, options.retryMs)
  }

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
  app.get('/rooms/:room/events', oneRoom, (request, reply) => {
    const { room, asked } = askedOne(request)
    const { stream, leaveOnEnd } = openStream(request, reply, options)
    leaveOnEnd(hub.join(room, new SingleOutput(stream), asked))
  })
  app.head('/rooms/:room/events', oneRoom, (request, reply) => {
    askedOne(request)
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
  app.get('/events', severalRooms, (request, reply) => {
    const { rooms, cursors, last } = askedSeveral(request)
    const { stream, leaveOnEnd } = openStream(request, reply, options)
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
  app.head('/events', severalRooms, (request, reply) => {
    askedSeveral(request)
    sendHeadOnly(reply)
  })
}

function openStream(
  request: FastifyRequest,
  reply: FastifyReply,
  options: EventRoutesOptions
): { stream: Stream; leaveOnEnd: (leave: () => void) => void } {
  const { hub } = options
  if (options.isStopping()) {
    throw new DialogsError('STOPPING', 'This process is stopping: try again, another one answers.')
  }
  if (hub.streamCount >= options.streamsMax) {
    throw new DialogsError(
      'TOO_MANY_STREAMS',
      'This process has as many streams as it may have: try another, or later.'
    )
  }
  options.connections.streams(request.raw)
  reply.hijack()
  // Without this Node would frame the body in chunks.
  reply.raw.useChunkedEncodingByDefault = false
  reply.raw.writeHead(200, HEAD)
  reply.raw.flushHeaders()
  const leaving: Array<() => void> = []
  const stream: Stream = new Stream(
    request.raw.socket,
    { bytesMax: options.socketBytesMax, retryMs: options.retryMs },
    reason => {
      hub.removeStream(stream)
      for (const leave of leaving) leave()
      options.onEnd(reason)
    }
  )
  hub.addStream(stream)
  // The first ping tells a client how long a silence may last. A client that cannot know the
  // setting learns it here.
  stream.write(
    `retry: ${options.retryMs}\n\nevent: ping\ndata: {"heartbeatMs":${options.heartbeatMs}}\n\n`
  )
  return {
    stream,
    leaveOnEnd: leave => {
      leaving.push(leave)
    }
  }
}

/** Ends the stream before it has begun, with a time to come back after. */
function putOff(reply: FastifyReply, retryMs: number): void {
  reply.hijack()
  reply.raw.writeHead(200, HEAD)
  reply.raw.end(laterFrame(retryMs))
}

// An EventSource sends text/event-stream, curl and many others */*, and some nothing at all.
function acceptsJsonOnly(accept: string | undefined): boolean {
  const types = (accept ?? '')
    .split(',')
    .map(range => range.split(';', 1)[0]?.trim().toLowerCase() ?? '')
    .filter(type => type !== '')
  return types.length > 0 && types.every(type => /^application\/(?:.+\+)?json$/.test(type))
}

function sendHeadOnly(reply: FastifyReply): void {
  reply.hijack()
  reply.raw.writeHead(200, HEAD).end()
}

/**
 * Where the client stands: what it has seen itself before what its URL said from the beginning. An
 * EventSource that has no id yet sends none, and some clients send it empty. Polyfills that cannot
 * send the header put lastEventId into the query.
 */
function cursorOf(headers: Headers, query: EventsQuery): string | undefined {
  const seen = [headers['last-event-id'], query.lastEventId, query.lastEventID].find(
    id => id !== undefined && id !== ''
  )
  return seen === undefined ? query.after : String(seen)
}

// A room that had sent nothing yet has an empty place in the id: it is begun as asked.
function parseCursors(text: string | undefined, count: number): Place[] {
  if (text === undefined) {
    return Array.from({ length: count }, () => ({ text: '', cursor: undefined }))
  }
  const parts = text.split(',')
  if (parts.length !== count) {
    throw new DialogsError(
      'INVALID_CURSOR',
      `The cursor has ${parts.length} places, but ${count} rooms are asked for: resume with the same rooms in the same order.`
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
