// A person's dialogs over HTTP: membership of a room, how far it is read, and the list. Checks the
// input, and answers with the store's own JSON.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Caller } from '../identity/caller.js'
import { checkName } from '../message/names.js'
import { type Dialog, dialogJson } from '../store/inbox.js'
import { type Store } from '../store/store.js'
import { type Answers, type PageOf, sendJson } from './answers.js'
import { parseLimit } from './parameters.js'
import { checkActsAs, checkWrite } from './rights.js'
import {
  DialogAnswer,
  DialogsAnswer,
  DialogsQuery,
  MemberAnswer,
  MemberParams,
  NewMark,
  UserParams
} from './member-schemas.js'
import { ERRORS, NoQuery } from './schemas.js'

export type DialogRoutesOptions = {
  readonly store: Store
  readonly answers: Answers
  readonly pageBytesMax: number
}

export async function dialogRoutes(
  fastify: FastifyInstance,
  { store, answers, pageBytesMax }: DialogRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const { members, inbox, listUpdates } = store

  app.put(
    '/rooms/:room/users/:user',
    {
      config: { contract: { id: 'addMember', tag: 'members', errors: [409] } },
      schema: {
        summary: 'Make a user a member',
        params: MemberParams,
        querystring: NoQuery,
        response: { 200: MemberAnswer, 201: MemberAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room, user } = request.params
      const { caller } = request
      await checkWrite(caller, room)
      checkName('user', user)
      const inviter = caller.writesAsMember(room) ? caller.user : undefined
      const isNew = await members.join(room, user, inviter)
      return await reply.code(isNew ? 201 : 200).send({ room, user, member: true })
    }
  )

  app.delete(
    '/rooms/:room/users/:user',
    {
      config: { contract: { id: 'removeMember', tag: 'members' } },
      schema: {
        summary: 'End a membership',
        params: MemberParams,
        querystring: NoQuery,
        response: { 200: MemberAnswer, ...ERRORS }
      }
    },
    async request => {
      const { room, user } = request.params
      checkName('room', room)
      checkName('user', user)
      // Everybody may leave.
      if (!request.caller.mayActAs(user)) await checkWrite(request.caller, room)
      await members.leave(room, user)
      return { room, user, member: false }
    }
  )

  app.put(
    '/rooms/:room/users/:user/read',
    {
      config: { contract: { id: 'markRead', tag: 'members', errors: [404] } },
      schema: {
        summary: 'Say how far a member has read',
        params: MemberParams,
        querystring: NoQuery,
        body: NewMark,
        response: { 200: DialogAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { room, user } = request.params
      checkName('room', room)
      checkActsAs(request.caller, user)
      const dialog = await inbox.markRead(user, room, request.body.seq)
      if (dialog === undefined) {
        throw new DialogsError('NOT_A_MEMBER', `${user} is not a member of the room ${room}.`)
      }
      return sendJson(reply, shownTo(request.caller, dialog))
    }
  )

  app.get(
    '/users/:user/rooms',
    {
      config: { contract: { id: 'listDialogs', tag: 'members' } },
      schema: {
        summary: "A person's dialogs, newest activity first",
        params: UserParams,
        querystring: DialogsQuery,
        response: { 200: DialogsAnswer, ...ERRORS }
      }
    },
    async (request, reply) => {
      const { user } = request.params
      const { before } = request.query
      checkActsAs(request.caller, user)
      const limit = parseLimit(request.query.limit)
      // Waits until their messages written through this process are in the list.
      await listUpdates.settled(user)
      const { caller } = request
      const asked: PageOf = { kind: 'dialogs', name: user, limit, where: [caller.readRule, before] }
      return await answers.send(reply, asked, async () => {
        const cursor = Date.now()
        const { dialogs, next = null } = await inbox.page(user, before, limit, pageBytesMax)
        const rooms = dialogs.map(dialog => shownTo(caller, dialog)).join(',')
        const json = `{"user":${JSON.stringify(user)},"cursor":"${cursor}","rooms":[${rooms}],"next":${JSON.stringify(next)}}`
        return { json, entries: dialogs.length }
      })
    }
  )
}

// The list belongs to the person, but the last message belongs to the room: it is shown only to
// those who may read there.
const shownTo = (caller: Caller, dialog: Dialog): string =>
  dialogJson(caller.mayReadAsMember(dialog.room) ? dialog : { ...dialog, last: 'null' })
