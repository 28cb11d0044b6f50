// Signals over HTTP: checks the input and passes it on. Nothing is stored, so the answer is an
// empty 204.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Signals } from '../live/signals.js'
import { checkName } from '../message/names.js'
import { authorOf, checkWrite } from './rights.js'
import { ErrorAnswer, NewSignal, NoAnswer, NoQuery, RoomParams } from './schemas.js'

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
        contract: { id: 'sendSignal', tag: 'rooms', errors: [413, 415, 429] }
      },
      schema: {
        summary: 'Pass a signal, such as typing, to whoever reads the room now',
        params: RoomParams,
        querystring: NoQuery,
        body: NewSignal,
        response: { 204: NoAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { kind, data } = request.body
      checkName('room', room)
      const user = authorOf(request.caller, request.body.user)
      const asked = checkWrite(request.caller, room)
      if (asked !== undefined) await asked
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
