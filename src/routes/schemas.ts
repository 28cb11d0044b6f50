// The shapes of requests and answers, for validation and for /openapi.json. What a schema cannot
// say well (names, texts, cursors) is checked by src/message/names.ts, whose messages say what to
// change.
import { Type, type Static } from '@sinclair/typebox'

export const RoomParams = Type.Object({
  room: Type.String({ description: '1 to 64 characters in NFC, no control characters, no braces' })
})
export const MessageParams = Type.Object({
  room: RoomParams.properties.room,
  seq: Type.String({ description: 'the sequence, from 1' })
})

export const NewMessage = Type.Object(
  {
    user: Type.Optional(
      Type.String({
        description:
          '1 to 64 characters, as a room; with a token that names a user the same one, or left out'
      })
    ),
    text: Type.String({ description: '1 to TEXT_MAX characters' })
  },
  { additionalProperties: false }
)
export type NewMessage = Static<typeof NewMessage>

export const NewSignal = Type.Object(
  {
    user: NewMessage.properties.user,
    kind: Type.String({
      pattern: '^[A-Za-z0-9_.:-]{1,32}$',
      description: 'what kind of signal it is, such as typing'
    }),
    data: Type.Optional(Type.Unknown({ description: 'any JSON of at most 1,024 bytes' }))
  },
  { additionalProperties: false }
)

/** For answers without a body. */
export const NoAnswer = Type.Null({ description: 'no body' })

export const MessageAnswer = Type.Object({
  room: Type.String(),
  seq: Type.Integer({ minimum: 1, description: '1, 2, 3 … without holes in its room' }),
  user: Type.String(),
  text: Type.String(),
  at: Type.String({ format: 'date-time' }),
  changed: Type.Optional(
    Type.String({ format: 'date-time', description: 'when the text was last changed' })
  )
})

export const NewText = Type.Object(
  {
    user: Type.Optional(Type.String({ description: 'whose message it must be' })),
    text: Type.String({ description: '1 to TEXT_MAX characters' })
  },
  { additionalProperties: false }
)

export const AuthorQuery = Type.Object(
  { user: Type.Optional(Type.String({ description: 'whose message it must be' })) },
  { additionalProperties: false }
)

/** An entry of its own in the order, which tells what became of an earlier message. */
export const ChangeAnswer = Type.Object({
  room: Type.String(),
  seq: Type.Integer({ minimum: 1, description: 'the sequence of the change itself' }),
  changes: Type.Integer({ minimum: 1, description: 'the sequence of the changed message' }),
  text: Type.Optional(Type.String()),
  deleted: Type.Optional(Type.Literal(true)),
  at: Type.String({ format: 'date-time' })
})

/** What is left of a deleted message. */
export const DeletedAnswer = Type.Object({
  room: Type.String(),
  seq: Type.Integer({ minimum: 1 }),
  deleted: Type.Literal(true),
  at: Type.String({ format: 'date-time' })
})

export const LostAnswer = Type.Object({
  room: Type.String(),
  seq: Type.Integer(),
  lost: Type.Literal(true)
})

/** What one place in the order may hold. */
export const OneAnswer = Type.Union([MessageAnswer, ChangeAnswer])

export const PageQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: 'cursor: only messages after it' })),
    before: Type.Optional(Type.String({ description: 'cursor: only messages before it' })),
    limit: Type.Optional(
      Type.String({
        description: '1 to 1000, default 50; a page may end earlier, at PAGE_BYTES_MAX bytes'
      })
    )
  },
  { additionalProperties: false }
)

export const PageAnswer = Type.Object({
  room: Type.String(),
  head: Type.Integer({ description: 'the last sequence of the room, 0 when it is empty' }),
  messages: Type.Array(Type.Union([MessageAnswer, ChangeAnswer, DeletedAnswer, LostAnswer]), {
    description:
      'ascending, without a hole; at least one if there is any. Go on after the last one until it is head, or before the first until it is 1'
  })
})

/** For routes without parameters, so that a misspelt one is refused there too. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

// Streams ignore unknown parameters: polyfills of EventSource add some, and would take a refusal as
// final.
const Resuming = {
  ticket: Type.Optional(
    Type.String({
      description:
        'of POST /tickets, for an EventSource of another origin; unused where no tokens are asked for'
    })
  ),
  after: Type.Optional(
    Type.String({
      description:
        'cursor: what came after it; lastEventId and the Last-Event-ID header win over it'
    })
  ),
  last: Type.Optional(
    Type.String({
      description: 'start with this many of the newest messages; default: the whole history'
    })
  ),
  lastEventId: Type.Optional(
    Type.String({
      description: 'like the header Last-Event-ID, for clients that cannot send it; the header wins'
    })
  ),
  lastEventID: Type.Optional(Type.String({ description: 'another spelling of lastEventId' }))
}

/** Where the client of a stream resumes. */
export type Resuming = {
  readonly after?: string
  readonly lastEventId?: string
  readonly lastEventID?: string
}

export const PersonEventsQuery = Type.Object({
  after: Type.Optional(
    Type.String({
      description:
        'cursor: the dialogs that have changed since; default: all. lastEventId and the Last-Event-ID header win over it'
    })
  ),
  lastEventId: Resuming.lastEventId,
  lastEventID: Resuming.lastEventID
})

export const EventsQuery = Type.Object(Resuming)
export type EventsQuery = Static<typeof EventsQuery>

export const RoomsEventsQuery = Type.Object({
  room: Type.Union([Type.String(), Type.Array(Type.String())], {
    description: 'once for each room'
  }),
  ...Resuming
})
export type RoomsEventsQuery = Static<typeof RoomsEventsQuery>

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
    description: 'the last message, also if it was deleted; null in an empty room'
  })
})

export const DialogsQuery = Type.Object(
  {
    before: Type.Optional(Type.String({ description: 'the next of the page before' })),
    limit: PageQuery.properties.limit
  },
  { additionalProperties: false }
)

export const TicketAnswer = Type.Object({
  ticket: Type.String({ description: 'for the query of a stream, as `ticket`' }),
  expiresAt: Type.String({ format: 'date-time', description: 'opens streams until then' })
})

export const UsersQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.String({ description: '1 to 1000, default 50' }))
  },
  { additionalProperties: false }
)

const Next = Type.Union([Type.String(), Type.Null()], {
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

export const BlocksQuery = Type.Object(
  {
    after: UsersQuery.properties.after,
    limit: Type.Optional(
      Type.String({ description: 'how many blocks are looked at, 1 to 1000, default 50' })
    )
  },
  { additionalProperties: false }
)

const TopologyVersion = Type.String({
  description: 'names who owns which slot: answers with the same version agree about it'
})

export const BlocksAnswer = Type.Object({
  room: Type.String(),
  users: Type.Integer({ description: 'users in the room; all pages together have their blocks' }),
  blocks: Type.Array(
    Type.Object({
      key: Type.String(),
      slot: Type.Integer(),
      shard: Type.Union([Type.String(), Type.Null()]),
      messages: Type.Integer()
    }),
    {
      description:
        'the blocks looked at that are not empty; may be none even if there is a next page'
    }
  ),
  version: TopologyVersion,
  next: Next
})

const NodeAnswer = Type.Object({ id: Type.String(), address: Type.String(), isUp: Type.Boolean() })

const Figure = (description: string) =>
  Type.Union([Type.Integer(), Type.Null()], { description: `${description}; null: unknown` })

export const ClusterAnswer = Type.Object({
  version: TopologyVersion,
  shards: Type.Array(
    Type.Object({
      id: Type.String({ description: "the master's node id" }),
      master: NodeAnswer,
      replicas: Type.Array(NodeAnswer),
      slots: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), {
        description: 'ranges, first and last inclusive'
      }),
      slotCount: Type.Integer(),
      keys: Figure('keys of the master'),
      memoryBytes: Figure('memory of the master'),
      operationsPerSecond: Figure('commands of all clients'),
      entriesTotal: Figure('entries added to streams since the master was started'),
      replicaLagBytes: Figure('how far the slowest replica is behind')
    })
  ),
  moving: Type.Array(
    Type.Object({
      slot: Type.Integer(),
      from: Type.String({ description: "the master's host:port" }),
      to: Type.String()
    }),
    { description: 'slots on their way, where they move key by key' }
  )
})
export type ClusterAnswer = Static<typeof ClusterAnswer>

export const HealthAnswer = Type.Object({
  status: Type.Literal('ok'),
  shards: Type.Optional(Type.Integer()),
  workers: Type.Optional(Type.Object({ running: Type.Integer(), wanted: Type.Integer() }))
})

export const ErrorAnswer = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  message: Type.String()
})

/** The errors that any route may answer. */
export const ERRORS = { '4xx': ErrorAnswer, '5xx': ErrorAnswer } as const
