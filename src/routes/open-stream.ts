// How every stream of server-sent events is opened, refused or put off. The head goes out through
// Node's response, and everything after it straight to the socket (src/live/stream.ts). The end of
// the connection delimits the body, so there are no chunks to frame, and all readers get the same
// bytes. An EventSource takes any status but 200 as final. So a temporary condition (too many
// streams, stopping, overloaded) is answered 200 with a time to come back after, and the stream
// ends. A permanent fault gets its status. A client that accepts only JSON always gets the status.
import { type FastifyReply, type FastifyRequest } from 'fastify'
import { DialogsError, isTemporary } from '../errors.js'
import { type Hub } from '../live/hub.js'
import { laterFrame, Stream, type EndReason } from '../live/stream.js'
import { type Connections } from './connections.js'
import { type SendError } from './errors.js'
import { type Limits } from './limits.js'
import { type StreamRights } from './stream-rights.js'

export type OpenStreamOptions = {
  readonly hub: Hub
  readonly limits: Pick<Limits, 'enterStream'>
  /** Undefined in the open service. */
  readonly rights: StreamRights | undefined
  readonly connections: Pick<Connections, 'streams'>
  readonly isStopping: () => boolean
  readonly retryMs: number
  readonly heartbeatMs: number
  readonly socketBytesMax: number
  readonly streamsMax: number
  readonly onEnd: (reason: EndReason) => void
  /** A client was told to come back later. */
  readonly onPutOff: (error: unknown) => void
}

const HEAD = {
  'content-type': 'text/event-stream; charset=utf-8',
  // no-transform and X-Accel-Buffering keep proxies from compressing or buffering the stream.
  'cache-control': 'no-cache, no-store, no-transform',
  'x-content-type-options': 'nosniff',
  'x-accel-buffering': 'no',
  connection: 'close'
} as const

/**
 * Opens the stream that answers a request; everything after its head is written to it. It ends when
 * the caller's token expires, or may not read one of these rooms any more.
 * @throws DialogsError STOPPING, TOO_MANY_STREAMS or RATE_LIMITED, which `streamErrors` makes
 * temporary
 */
export function openStream(
  request: FastifyRequest,
  reply: FastifyReply,
  rooms: readonly string[],
  options: OpenStreamOptions
): { stream: Stream; leaveOnEnd: (leave: () => void) => void } {
  const { hub } = options
  if (options.isStopping()) {
    throw new DialogsError('STOPPING', 'This process is stopping: try again, another will answer.')
  }
  if (hub.streamCount >= options.streamsMax) {
    throw new DialogsError(
      'TOO_MANY_STREAMS',
      'This process has as many streams as it may have: try another process, or try later.'
    )
  }
  const leaveLimits = options.limits.enterStream(request)
  options.connections.streams(request.raw)
  reply.hijack()
  // Otherwise Node would frame the body in chunks.
  reply.raw.useChunkedEncodingByDefault = false
  // The head and what is written in this turn go out together.
  const { socket } = request.raw
  socket.cork()
  process.nextTick(() => {
    socket.uncork()
  })
  reply.raw.writeHead(200, HEAD)
  reply.raw.flushHeaders()
  const leaving: Array<() => void> = [leaveLimits]
  const stream: Stream = new Stream(
    socket,
    { bytesMax: options.socketBytesMax, retryMs: options.retryMs },
    reason => {
      hub.removeStream(stream)
      for (const leave of leaving) leave()
      options.onEnd(reason)
    }
  )
  hub.addStream(stream)
  // The first ping tells a client that does not know the setting how long a silence may last.
  stream.write(
    `retry: ${options.retryMs}\n\nevent: ping\ndata: {"heartbeatMs":${options.heartbeatMs}}\n\n`
  )
  // The client may have left while its rights were looked up. Then its socket has closed already,
  // and will not say so again.
  if (socket.destroyed) stream.end('client-closed')
  const stopWatching = options.rights?.watch(stream, request.caller, rooms)
  if (stopWatching !== undefined) {
    if (stream.hasEnded) stopWatching()
    else leaving.push(stopWatching)
  }
  return {
    stream,
    leaveOnEnd: leave => {
      if (stream.hasEnded) leave()
      else leaving.push(leave)
    }
  }
}

/** Ends the stream before it has begun, with a time to come back after. */
function putOff(reply: FastifyReply, retryMs: number): void {
  reply.hijack()
  reply.raw.writeHead(200, HEAD)
  reply.raw.end(laterFrame(retryMs))
}

// An EventSource sends text/event-stream, curl and many others */*, and some clients nothing.
function acceptsJsonOnly(accept: string | undefined): boolean {
  const types = (accept ?? '')
    .split(',')
    .map(range => range.split(';', 1)[0]?.trim().toLowerCase() ?? '')
    .filter(type => type !== '')
  return types.length > 0 && types.every(type => /^application\/(?:.+\+)?json$/.test(type))
}

/** The answer to HEAD on a stream. */
export function sendHeadOnly(reply: FastifyReply): void {
  reply.hijack()
  reply.raw.writeHead(200, HEAD).end()
}

/** The error handler of a route that answers with a stream. */
export function streamErrors({
  sendError,
  onPutOff,
  retryMs
}: Pick<OpenStreamOptions, 'onPutOff' | 'retryMs'> & { readonly sendError: SendError }): SendError {
  return (error, request, reply) => {
    if (!isTemporary(error) || acceptsJsonOnly(request.headers.accept)) {
      return sendError(error, request, reply)
    }
    onPutOff(error)
    putOff(reply, retryMs)
  }
}
