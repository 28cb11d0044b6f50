// Bare Fastify with the schemas and answers of the service and nothing behind them: the limit of
// the HTTP layer. Sequences come from a map, and nothing is stored. A stream gets its head, and
// then stays open and silent.
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { ErrorAnswer, MessageAnswer, NewMessage, RoomParams } from '../../src/routes/schemas.js'
import { serve } from '../program.js'

export type ServerMethods = {
  /** Listens on a free port. Returns the base URL. */
  listen: (redisUrls: readonly string[]) => Promise<string>
}

serve({
  async listen() {
    const fastify = Fastify({ logger: false }).withTypeProvider<TypeBoxTypeProvider>()
    const heads = new Map<string, number>()
    fastify.post(
      '/rooms/:room/messages',
      {
        schema: {
          params: RoomParams,
          body: NewMessage,
          response: { 201: MessageAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
        }
      },
      async (request, reply) => {
        const { room } = request.params
        const { user = 'ann', text } = request.body
        const seq = (heads.get(room) ?? 0) + 1
        heads.set(room, seq)
        reply.code(201).header('location', `/rooms/${encodeURIComponent(room)}/messages/${seq}`)
        return { room, seq, user, text, at: new Date().toISOString() }
      }
    )
    fastify.get('/rooms/:room/events', { schema: { params: RoomParams } }, (_request, reply) => {
      reply.hijack()
      reply.raw.useChunkedEncodingByDefault = false
      reply.raw.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        connection: 'close'
      })
      reply.raw.flushHeaders()
    })
    return await fastify.listen({ host: '127.0.0.1', port: 0 })
  }
} satisfies ServerMethods)
