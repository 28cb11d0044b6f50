// Signals over HTTP: checks the input and passes it on. Nothing is stored, so the answer is an
// empty 204.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Signals } from '../live/signals.js'
import { writerIn } from './rights.js'
import { ERRORS, NewSignal, NoAnswer, NoQuery, RoomParams } from './schemas.js'

/** Bytes of `data` as JSON. */
const DATA_BYTES_MAX = 1024

export async function signalRoutes(
  fastify: FastifyInstance,
  { signals }: { readonly signals: Signals }
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.post(
    '/rooms/:room/signals',
    {
      config: {
        contract: { id: 'sendSignal', tag: 'rooms' }
      },
      schema: {
        summary: 'Pass a signal, such as typing, to whoever reads the room now',
        params: RoomParams,
        querystring: NoQuery,
        body: NewSignal,
        response: { 204: NoAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { kind, data } = request.body
      const user = await writerIn(request.caller, room, request.body.user)
      if (data !== undefined && Buffer.byteLength(JSON.stringify(data)) > DATA_BYTES_MAX) {
        throw new DialogsError(
          'INVALID_BODY',
          `The data of a signal has more than ${DATA_BYTES_MAX} bytes as JSON: send less.`
        )
      }
      await signals.send({ room, user, kind, data })
      return await reply.code(204).send(null)
    }
  )
}
