// The shapes of requests and answers, for validation and for /openapi.json. What a schema cannot say well (names, texts, cursors)
// is checked by src/names.ts, whose messages tell what to change.
import { Type, type Static } from '@sinclair/typebox'

export const RoomParams = Type.Object({ room: Type.String({ description: '1 to 64 characters in NFC, no control characters, no braces' }) })
export const MessageParams = Type.Object({ room: RoomParams.properties.room, seq: Type.String({ description: 'the sequence, from 1' }) })

export const NewMessage = Type.Object({
  user: Type.String({ description: '1 to 64 characters, as a room' }),
  text: Type.String({ description: '1 to TEXT_MAX characters' })
}, { additionalProperties: false })
export type NewMessage = Static<typeof NewMessage>

export const MessageAnswer = Type.Object({
  room: Type.String(),
  seq: Type.Integer({ minimum: 1, description: '1, 2, 3 … without holes in its room' }),
  user: Type.String(),
  text: Type.String(),
  at: Type.String({ format: 'date-time' })
})

export const LostAnswer = Type.Object({ room: Type.String(), seq: Type.Integer(), lost: Type.Literal(true) })

export const PageQuery = Type.Object({
  after: Type.Optional(Type.String({ description: 'cursor: only messages after it' })),
  before: Type.Optional(Type.String({ description: 'cursor: only messages before it' })),
  limit: Type.Optional(Type.String({ description: '1 to 1000, default 50; a page may end earlier, at PAGE_BYTES_MAX bytes' }))
}, { additionalProperties: false })

export const PageAnswer = Type.Object({
  room: Type.String(),
  head: Type.Integer({ description: 'the last sequence of the room, 0 when it is empty' }),
  messages: Type.Array(Type.Union([MessageAnswer, LostAnswer]), { description: 'ascending, without a hole; at least one if there is any. Go on after the last one until it is head, or before the first until it is 1' })
})

export const EventsQuery = Type.Object({
  after: Type.Optional(Type.String({ description: 'cursor: what came after it; the Last-Event-ID header wins over it' })),
  last: Type.Optional(Type.String({ description: 'begin with the newest so many messages; default: the whole history' }))
}, { additionalProperties: false })

export const RoomsEventsQuery = Type.Object({
  room: Type.Union([Type.String(), Type.Array(Type.String())], { description: 'once for each room' }),
  after: Type.Optional(Type.String({ description: 'the id of an event of the same stream' })),
  last: EventsQuery.properties.last
}, { additionalProperties: false })

export const UsersAnswer = Type.Object({
  room: Type.String(),
  users: Type.Array(Type.Object({ user: Type.String(), messages: Type.Integer() }))
})

export const BlocksAnswer = Type.Object({
  room: Type.String(),
  blocks: Type.Array(Type.Object({ key: Type.String(), slot: Type.Integer(), shard: Type.Union([Type.String(), Type.Null()]), messages: Type.Integer() }))
})

const NodeAnswer = Type.Object({ id: Type.String(), address: Type.String(), isUp: Type.Boolean() })

export const ClusterAnswer = Type.Object({
  shards: Type.Array(Type.Object({
    id: Type.String({ description: "the master's node id" }),
    master: NodeAnswer,
    replicas: Type.Array(NodeAnswer),
    slots: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), { description: 'ranges, first and last inclusive' }),
    slotCount: Type.Integer(),
    keys: Type.Union([Type.Integer(), Type.Null()], { description: 'null: the master does not answer' }),
    memoryBytes: Type.Union([Type.Integer(), Type.Null()])
  }))
})
export type ClusterAnswer = Static<typeof ClusterAnswer>

export const ErrorAnswer = Type.Object({ statusCode: Type.Integer(), code: Type.String(), message: Type.String() })
