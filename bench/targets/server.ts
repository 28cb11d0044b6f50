// A peer that is one of our own programs in a process of its own: bare Fastify, or Socket.IO.
import { Program } from '../program.js'
import type { ServerMethods } from '../programs/bare-fastify.js'
import { type Target } from './target.js'

async function start(
  program: string,
  redisUrls: readonly string[],
  rest: Pick<Target, 'name' | 'stream'>
): Promise<Target> {
  const server = new Program<ServerMethods>(program)
  try {
    const url = await server.call('listen', redisUrls)
    return { ...rest, url, pid: server.pid, stop: () => server.stop() }
  } catch (error) {
    await server.stop()
    throw error
  }
}

export const startBareFastify = async (): Promise<Target> =>
  await start('bare-fastify', [], {
    name: 'bare Fastify',
    stream: room => ({ kind: 'sse', path: `/rooms/${room}/events`, otherFrames: 0 })
  })

export const startSocketIo = async (redisUrls: readonly string[]): Promise<Target> =>
  await start('socketio', redisUrls, {
    name: 'Socket.IO with Redis streams',
    stream: room => ({
      kind: 'socketio',
      path: `/socket.io/?EIO=4&transport=websocket&room=${room}`,
      otherFrames: 0
    })
  })
