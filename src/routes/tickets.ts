// POST /tickets: mints a ticket that opens streams with the caller's rights to read.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { TokenCaller } from '../identity/claims.js'
import { type Tickets } from '../identity/tickets.js'
import { ERRORS, NoQuery, TicketAnswer } from './schemas.js'

export type TicketRoutesOptions = {
  /** Undefined in the open service. */
  readonly tickets: Tickets | undefined
}

export async function ticketRoutes(
  fastify: FastifyInstance,
  { tickets }: TicketRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  app.post(
    '/tickets',
    {
      config: { contract: { id: 'makeTicket', tag: 'rights', errors: [404] } },
      schema: {
        summary: 'A ticket for the streams of an EventSource of another origin',
        querystring: NoQuery,
        response: { 201: TicketAnswer, ...ERRORS }
      }
    },
    async ({ caller }, reply) => {
      if (tickets === undefined || !(caller instanceof TokenCaller)) {
        throw new DialogsError(
          'NOT_FOUND',
          'This service needs no tokens: connect without a ticket.'
        )
      }
      const { ticket, expiresAtMs } = await tickets.mint(caller)
      return reply.code(201).send({ ticket, expiresAt: new Date(expiresAtMs).toISOString() })
    }
  )
}
