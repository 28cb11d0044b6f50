// Writing and reading messages over HTTP: checks the input, hands it to the store, and answers with
// the same JSON as the frames of streams.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { entryJson, messageJson } from '../message/frame.js'
import { checkIdempotencyKey, checkName, checkText } from '../message/names.js'
import { isDeleted, isLost, parseCursor } from '../message/message.js'
import { type Store } from '../store/store.js'
import { type Answers, sendJson } from './answers.js'
import { type SendError } from './errors.js'
import { messagePage } from './message-page.js'
import { authorOf, checkAdmin, checkRead, checkWrite, requiredAuthor } from './rights.js'
import {
  AuthorQuery,
  BlocksAnswer,
  BlocksQuery,
  ChangeAnswer,
  ErrorAnswer,
  MessageAnswer,
  MessageParams,
  NewMessage,
  NewText,
  NoQuery,
  OneAnswer,
  PageAnswer,
  PageQuery,
  RoomParams,
  UsersAnswer,
  UsersQuery
} from './schemas.js'

export type MessageRoutesOptions = {
  readonly store: Store
  readonly answers: Answers
  readonly textMax: number
  readonly pageBytesMax: number
  readonly sendError: SendError
  /**
   * A POST was answered, with a message or an error. Not an `onResponse` hook, because with one
   * Fastify listens for the end of each answer (app.ts).
   */
  readonly onPost: (code: number, seconds: number) => void
}

const PAGE_LIMIT = 50
const PAGE_LIMIT_MAX = 1000

export async function messageRoutes(
  fastify: FastifyInstance,
  { store, answers, textMax, pageBytesMax, sendError, onPost }: MessageRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const posted = (code: number, { startedAt }: FastifyRequest): void => {
    onPost(code, (performance.now() - startedAt) / 1000)
  }

  app.post(
    '/rooms/:room/messages',
    {
      config: {
        contract: { id: 'writeMessage', tag: 'messages', errors: [409, 413, 415], isKeyed: true }
      },
      schema: {
        summary: 'Write a message',
        params: RoomParams,
        querystring: NoQuery,
        body: NewMessage,
        response: { 200: MessageAnswer, 201: MessageAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      },
      errorHandler: (error, request, reply) => {
        sendError(error, request, reply)
        posted(reply.statusCode, request)
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { text } = request.body
      checkName('room', room)
      const user = authorOf(request.caller, request.body.user)
      const asked = checkWrite(request.caller, room)
      if (asked !== undefined) await asked
      checkText(text, textMax)
      const once = request.headers['idempotency-key']
      if (once !== undefined) checkIdempotencyKey(String(once))
      const { message, isNew } = await store.append({
        room,
        user,
        text,
        once: once === undefined ? undefined : String(once)
      })
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
        response: { 200: PageAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      checkName('room', room)
      await checkRead(request.caller, room)
      const limit = parseLimit(request.query.limit)
      const after =
        request.query.after === undefined ? undefined : parseCursor(request.query.after).seq
      const before =
        request.query.before === undefined ? undefined : parseCursor(request.query.before).seq
      const key = JSON.stringify(['messages', room, after, before, limit])
      return await answers.send(reply, key, () =>
        messagePage(store, { room, after, before, limit }, { bytesMax: pageBytesMax, textMax })
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
        response: { 200: OneAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      checkName('room', room)
      await checkRead(request.caller, room)
      const entry = await store.message(room, parseSeq(seq))
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

  app.patch(
    '/rooms/:room/messages/:seq',
    {
      config: {
        contract: {
          id: 'changeMessage',
          tag: 'messages',
          errors: [404, 409, 410, 413, 415],
          isKeyed: true
        }
      },
      schema: {
        summary: 'Change the text of a message',
        params: MessageParams,
        querystring: NoQuery,
        body: NewText,
        response: { 200: ChangeAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      const { user, text } = request.body
      checkName('room', room)
      const author = requiredAuthor(request.caller, user)
      await checkWrite(request.caller, room)
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
        summary: 'Delete a message: its text is nowhere any more, its place in the order stays',
        params: MessageParams,
        querystring: AuthorQuery,
        response: { 200: ChangeAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room, seq } = request.params
      checkName('room', room)
      const author = requiredAuthor(request.caller, request.query.user)
      await checkWrite(request.caller, room)
      const once = onceOf(request)
      const change = await store.change({
        room,
        seq: parseSeq(seq),
        text: undefined,
        author,
        once
      })
      return sendJson(reply, entryJson(change))
    }
  )

  app.get(
    '/rooms/:room/users',
    {
      config: { contract: { id: 'listUsers', tag: 'rooms' } },
      schema: {
        summary: 'Who has written here, and how much',
        params: RoomParams,
        querystring: UsersQuery,
        response: { 200: UsersAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { after } = request.query
      checkName('room', room)
      await checkRead(request.caller, room)
      const limit = parseLimit(request.query.limit)
      return await answers.send(reply, JSON.stringify(['users', room, after, limit]), async () => {
        const { total, users, next = null } = await store.users.page(room, after, limit)
        return JSON.stringify({ room, total, users, next })
      })
    }
  )

  app.get(
    '/rooms/:room/blocks',
    {
      config: { contract: { id: 'listBlocks', tag: 'rooms' } },
      schema: {
        summary: 'The blocks of a room, and where they lie',
        params: RoomParams,
        querystring: BlocksQuery,
        response: { 200: BlocksAnswer, '4xx': ErrorAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { after } = request.query
      checkName('room', room)
      checkAdmin(request.caller)
      const limit = parseLimit(request.query.limit)
      return await answers.send(reply, JSON.stringify(['blocks', room, after, limit]), async () => {
        const { users, blocks, version, next = null } = await store.blocks.page(room, after, limit)
        return JSON.stringify({
          room,
          users,
          blocks: blocks.map(block => ({ ...block, shard: block.shard ?? null })),
          version,
          next
        })
      })
    }
  )
}

/** @throws DialogsError INVALID_QUERY */
export function onceOf({ headers }: FastifyRequest): string | undefined {
  const once = headers['idempotency-key']
  if (once === undefined) return undefined
  checkIdempotencyKey(String(once))
  return String(once)
}

function parseSeq(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) {
    throw new DialogsError('INVALID_CURSOR', 'The sequence must be a whole number from 1.')
  }
  return Number(text)
}

export function parseLimit(text: string | undefined): number {
  if (text === undefined) return PAGE_LIMIT
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > PAGE_LIMIT_MAX) {
    throw new DialogsError(
      'INVALID_QUERY',
      `The limit must be a whole number from 1 to ${PAGE_LIMIT_MAX}.`
    )
  }
  return limit
}
