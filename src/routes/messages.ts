// Writing and reading messages over HTTP: checks the input, hands it to the store, and answers with
// the same JSON as the frames of streams.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { LoopTurns } from '../loop-turns.js'
import { entryJson, messageJson } from '../message/frame.js'
import { checkText } from '../message/names.js'
import { isDeleted, isLost, parseCursor } from '../message/message.js'
import { type Store } from '../store/store.js'
import { type Answers, type PageOf, sendJson } from './answers.js'
import { type SendError } from './errors.js'
import { messagePage } from './message-page.js'
import { onceOf, parseLimit, parseSeq } from './parameters.js'
import { checkRead, checkStillReads, writerIn } from './rights.js'
import {
  ERRORS,
  MessageAnswer,
  MessageParams,
  NewMessage,
  NoQuery,
  OneAnswer,
  PageAnswer,
  PageQuery,
  RoomParams
} from './schemas.js'

export type MessageRoutesOptions = {
  readonly store: Store
  readonly answers: Answers
  readonly textMax: number
  readonly pageBytesMax: number
  readonly sendError: SendError
  /**
   * A POST was answered, with a message or an error. Not an `onResponse` hook, because with one
   * Fastify listens for the end of each answer (http-server.ts).
   */
  readonly onPost: (code: number, seconds: number) => void
}

export async function messageRoutes(
  fastify: FastifyInstance,
  { store, answers, textMax, pageBytesMax, sendError, onPost }: MessageRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const bounds = { bytesMax: pageBytesMax, textMax, turns: new LoopTurns() }
  const posted = (code: number, { startedAt }: FastifyRequest): void => {
    onPost(code, (performance.now() - startedAt) / 1000)
  }

  app.post(
    '/rooms/:room/messages',
    {
      config: {
        contract: {
          id: 'writeMessage',
          tag: 'messages',
          errors: [409, 410],
          isKeyed: true
        }
      },
      schema: {
        summary: 'Write a message',
        params: RoomParams,
        querystring: NoQuery,
        body: NewMessage,
        response: { 200: MessageAnswer, 201: MessageAnswer, ...ERRORS }
      },
      errorHandler: (error, request, reply) => {
        sendError(error, request, reply)
        posted(reply.statusCode, request)
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { text } = request.body
      const user = await writerIn(request.caller, room, request.body.user)
      checkText(text, textMax)
      const once = onceOf(request)
      const asMember = request.caller.writesAsMember(room)
      const { message, isNew } = await store.append({ room, user, text, once, asMember })
      const code = isNew ? 201 : 200
      posted(code, request)
      reply
        .code(code)
        .header('location', `/rooms/${encodeURIComponent(room)}/messages/${message.seq}`)
      return sendJson(reply, messageJson(message))
    }
  )

  app.get(
    '/rooms/:room/messages',
    {
      config: { contract: { id: 'readMessages', tag: 'messages' } },
      schema: {
        summary: 'A page of messages, ascending',
        params: RoomParams,
        querystring: PageQuery,
        response: { 200: PageAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      await checkRead(request.caller, room)
      const limit = parseLimit(request.query.limit)
      const after =
        request.query.after === undefined ? undefined : parseCursor(request.query.after).seq
      const before =
        request.query.before === undefined ? undefined : parseCursor(request.query.before).seq
      const page: PageOf = { kind: 'messages', name: room, limit, where: [after, before] }
      return await answers.send(
        reply,
        page,
        () => messagePage(store, { room, after, before, limit }, bounds),
        () => checkStillReads(request.caller, room)
      )
    }
  )

  app.get(
    '/rooms/:room/messages/:seq',
    {
      config: { contract: { id: 'readMessage', tag: 'messages', errors: [404, 410] } },
      schema: {
        summary: 'One message',
        params: MessageParams,
        querystring: NoQuery,
        response: { 200: OneAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      await checkRead(request.caller, room)
      const entry = await store.message(room, parseSeq(seq))
      await checkStillReads(request.caller, room)
      if (entry === undefined) {
        throw new DialogsError('MESSAGE_NOT_FOUND', `Room ${room} has no message ${seq} (yet).`)
      }
      if (isLost(entry)) {
        throw new DialogsError(
          'MESSAGE_LOST',
          `Message ${seq} of room ${room} has been lost by the store.`
        )
      }
      if (isDeleted(entry)) {
        throw new DialogsError('MESSAGE_DELETED', `Message ${seq} of room ${room} is deleted.`)
      }
      return sendJson(reply, entryJson(entry))
    }
  )
}
