// A person's stream over HTTP: what changes in their dialogs. Parses where the client resumes,
// checks whose stream it is, opens it, and joins the person.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type People } from '../live/people.js'
import { type OperationContract } from './contract.js'
import { type SendError } from './errors.js'
import { cursorOf } from './events.js'
import { openStream, type OpenStreamOptions, sendHeadOnly, streamErrors } from './open-stream.js'
import { checkActsAs } from './rights.js'
import { UserParams } from './member-schemas.js'
import { ERRORS } from './schemas.js'
import { PersonEventsQuery, type Resuming } from './stream-schemas.js'

export type PersonEventRoutesOptions = OpenStreamOptions & {
  readonly people: People
  readonly sendError: SendError
}

export async function personEventRoutes(
  fastify: FastifyInstance,
  options: PersonEventRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const route = {
    exposeHeadRoute: false,
    errorHandler: streamErrors(options),
    config: {
      contract: {
        id: 'followDialogs',
        tag: 'streams',
        mediaType: 'text/event-stream'
      } satisfies OperationContract
    },
    schema: {
      summary: "What changes in a person's dialogs, as server-sent events",
      params: UserParams,
      querystring: PersonEventsQuery,
      response: ERRORS
    }
  }
  app.get('/users/:user/events', route, async (request, reply) => {
    const { user, after } = asked(request)
    const { stream, leaveOnEnd } = openStream(request, reply, [], options)
    leaveOnEnd(options.people.join(user, stream, after, request.caller.mayReadAsMember))
  })
  app.head('/users/:user/events', route, async (request, reply) => {
    asked(request)
    sendHeadOnly(reply)
  })
}

function asked({
  params: { user },
  query,
  headers,
  caller
}: Pick<FastifyRequest, 'headers' | 'caller'> & {
  readonly params: { readonly user: string }
  readonly query: Resuming
}): { readonly user: string; readonly after: number | undefined } {
  checkActsAs(caller, user)
  const cursor = cursorOf(headers, query)
  if (cursor !== undefined && !/^(?:0|[1-9]\d{0,14})$/.test(cursor)) {
    throw new DialogsError(
      'INVALID_CURSOR',
      'The cursor must be the id of an event of this stream, or the cursor of a list.'
    )
  }
  return { user, after: cursor === undefined ? undefined : Number(cursor) }
}
