// Changing and deleting messages over HTTP: checks the input and whose message it is, and answers
// with the change, which is an entry of its own in the order.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { entryJson } from '../message/frame.js'
import { checkText } from '../message/names.js'
import { type Store } from '../store/store.js'
import { sendJson } from './answers.js'
import { onceOf, parseSeq } from './parameters.js'
import { requiredAuthorIn } from './rights.js'
import { AuthorQuery, ChangeAnswer, ERRORS, MessageParams, NewText, NoQuery } from './schemas.js'

export type ChangeRoutesOptions = { readonly store: Store; readonly textMax: number }

export async function changeRoutes(
  fastify: FastifyInstance,
  { store, textMax }: ChangeRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.patch(
    '/rooms/:room/messages/:seq',
    {
      config: {
        contract: {
          id: 'changeMessage',
          tag: 'messages',
          errors: [404, 409, 410],
          isKeyed: true
        }
      },
      schema: {
        summary: 'Change the text of a message',
        params: MessageParams,
        querystring: NoQuery,
        body: NewText,
        response: { 200: ChangeAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      const { user, text } = request.body
      const author = await requiredAuthorIn(request.caller, room, user)
      checkText(text, textMax)
      const once = onceOf(request)
      const change = await store.change({ room, seq: parseSeq(seq), text, author, once })
      return sendJson(reply, entryJson(change))
    }
  )

  app.delete(
    '/rooms/:room/messages/:seq',
    {
      config: {
        contract: {
          id: 'deleteMessage',
          tag: 'messages',
          errors: [404, 409, 410],
          isKeyed: true
        }
      },
      schema: {
        summary: 'Delete a message: its text is gone for good, its place in the order stays',
        params: MessageParams,
        querystring: AuthorQuery,
        response: { 200: ChangeAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      const author = await requiredAuthorIn(request.caller, room, request.query.user)
      const once = onceOf(request)
      const change = await store.change({ room, seq: parseSeq(seq), text: undefined, author, once })
      return sendJson(reply, entryJson(change))
    }
  )
}
