// A room as a whole, over HTTP: its users, its blocks for operators, and its deletion.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { formatTime } from '../message/frame.js'
import { checkName } from '../message/names.js'
import { type Store } from '../store/store.js'
import { type Answers, type PageOf } from './answers.js'
import { parseLimit } from './parameters.js'
import { checkAdmin, checkRead, checkStillReads } from './rights.js'
import { DeletedRoomAnswer, UsersAnswer, UsersQuery } from './member-schemas.js'
import { BlocksAnswer, BlocksQuery } from './operation-schemas.js'
import { ERRORS, NoQuery, RoomParams } from './schemas.js'

export type RoomRoutesOptions = { readonly store: Store; readonly answers: Answers }

export async function roomRoutes(
  fastify: FastifyInstance,
  { store, answers }: RoomRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.get(
    '/rooms/:room/users',
    {
      config: { contract: { id: 'listUsers', tag: 'rooms' } },
      schema: {
        summary: 'The members of a room, and how many messages each has written',
        params: RoomParams,
        querystring: UsersQuery,
        response: { 200: UsersAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { after } = request.query
      await checkRead(request.caller, room)
      const limit = parseLimit(request.query.limit)
      const asked: PageOf = { kind: 'users', name: room, limit, where: [after] }
      return await answers.send(
        reply,
        asked,
        async () => {
          const { total, users, next = null } = await store.users.page(room, after, limit)
          return { json: JSON.stringify({ room, total, users, next }), entries: users.length }
        },
        () => checkStillReads(request.caller, room)
      )
    }
  )

  app.delete(
    '/rooms/:room',
    {
      config: { contract: { id: 'deleteRoom', tag: 'rooms', errors: [404] } },
      schema: {
        summary: 'Delete a room: messages, members, read marks; its numbering goes on',
        params: RoomParams,
        querystring: NoQuery,
        response: { 200: DeletedRoomAnswer, ...ERRORS }
      }
    },
    async request => {
      const { room } = request.params
      checkName('room', room)
      checkAdmin(request.caller)
      const { seq, ms, isClean } = await store.deletions.delete(room)
      return { room, deleted: true as const, head: seq, at: formatTime(ms), done: isClean }
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
        response: { 200: BlocksAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room } = request.params
      const { after } = request.query
      checkName('room', room)
      checkAdmin(request.caller)
      const limit = parseLimit(request.query.limit)
      const asked: PageOf = { kind: 'blocks', name: room, limit, where: [after] }
      return await answers.send(reply, asked, async () => {
        const page = await store.blocks.page(room, after, limit)
        const { users, blockLength, blocks, version, next = null } = page
        const json = JSON.stringify({
          room,
          users,
          blockLength,
          blocks: blocks.map(block => ({ ...block, shard: block.shard ?? null })),
          version,
          next
        })
        return { json, entries: blocks.length }
      })
    }
  )
}
