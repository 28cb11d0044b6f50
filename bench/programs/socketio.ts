// Socket.IO with its Redis streams adapter as a chat service with rooms: a connection with `?room=`
// joins the room, and a POST to a room is emitted there, as JSON like the service's. The POST is
// answered at once, because the adapter does not report when its XADD is done.
import { createAdapter } from '@socket.io/redis-streams-adapter'
import Fastify from 'fastify'
import { createCluster } from 'redis'
import { Server } from 'socket.io'
import { serve } from '../program.js'
import type { ServerMethods } from './bare-fastify.js'

serve({
  async listen(redisUrls) {
    const redis = createCluster({ rootNodes: redisUrls.map(url => ({ url })) })
    redis.on('error', error => {
      process.stderr.write(`Socket.IO's Redis: ${String(error)}\n`)
    })
    await redis.connect()
    const fastify = Fastify({ logger: false })
    const io = new Server(fastify.server, {
      adapter: createAdapter(redis),
      transports: ['websocket']
    })
    io.on('connection', socket => {
      void socket.join(String(socket.handshake.query['room']))
    })
    let seq = 0
    fastify.post<{ Params: { room: string }; Body: { user: string; text: string } }>(
      '/rooms/:room/messages',
      async (request, reply) => {
        const { room } = request.params
        const message = {
          room,
          seq: ++seq,
          user: request.body.user,
          text: request.body.text,
          at: new Date().toISOString()
        }
        io.to(room).emit('message', message)
        reply.code(201)
        return message
      }
    )
    return await fastify.listen({ host: '127.0.0.1', port: 0 })
  }
} satisfies ServerMethods)
