// What requests and answers about members and a person's dialogs consist of.
import { Type } from '@sinclair/typebox'
import { DeletedAnswer, LostAnswer, MessageAnswer, PageQuery, RoomParams } from './schemas.js'

export const UserParams = Type.Object({
  user: Type.String({ description: '1 to 64 characters, as a room' })
})
export const MemberParams = Type.Object({
  room: RoomParams.properties.room,
  user: UserParams.properties.user
})

export const MemberAnswer = Type.Object({
  room: Type.String(),
  user: Type.String(),
  member: Type.Boolean()
})

export const DeletedRoomAnswer = Type.Object({
  room: Type.String(),
  deleted: Type.Literal(true),
  head: Type.Integer({
    description: 'everything up to here is gone; a message that is written now comes after it'
  }),
  at: Type.String({ format: 'date-time' }),
  done: Type.Boolean({
    description:
      'nothing is left in the store; false if a large room takes longer: the deletion continues'
  })
})

export const NewMark = Type.Object(
  {
    seq: Type.Integer({
      minimum: 0,
      maximum: 999_999_999_999_999,
      description: 'the last sequence that was read; beyond the head it counts as the head'
    })
  },
  { additionalProperties: false }
)

export const DialogAnswer = Type.Object({
  room: Type.String(),
  head: Type.Integer({ description: 'the last sequence of the room, 0 when it is empty' }),
  read: Type.Integer({ description: 'the last sequence that the person has read' }),
  unread: Type.Integer({
    minimum: 0,
    maximum: 100,
    description: 'messages of others behind that; 100 stands for more'
  }),
  last: Type.Union([MessageAnswer, DeletedAnswer, LostAnswer, Type.Null()], {
    description:
      'the last message, even if it was deleted; null in an empty room, and in one that the token does not let its user read'
  })
})

export const DialogsQuery = Type.Object(
  {
    before: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: PageQuery.properties.limit
  },
  { additionalProperties: false }
)

export const UsersQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.String({ description: '1 to 1000, default 50' }))
  },
  { additionalProperties: false }
)

/** Where the next page goes on. */
export const Next = Type.Union([Type.String(), Type.Null()], {
  description: '`after` of the next page; null on the last page'
})

export const UsersAnswer = Type.Object({
  room: Type.String(),
  total: Type.Integer({ description: 'users in the room, on all pages' }),
  users: Type.Array(Type.Object({ user: Type.String(), messages: Type.Integer() }), {
    description: 'most messages first, then by name; in a room of thousands, in a fixed order'
  }),
  next: Next
})

export const DialogsAnswer = Type.Object({
  user: Type.String(),
  cursor: Type.String({ description: 'after of a stream that tells what has changed since' }),
  rooms: Type.Array(DialogAnswer, { description: 'newest activity first' }),
  next: Type.Union([Type.String(), Type.Null()], {
    description: 'before of the next page; null on the last one'
  })
})
