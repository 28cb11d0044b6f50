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
          '1 to 64 characters, as a room; with a token that names a user: the same user, or omitted'
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
      'ascending, without a hole; at least one if there is any. Continue after the last one until it is head, or before the first one until it is 1'
  })
})

/** For routes without parameters, so that a misspelt one is refused there too. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

export const TicketAnswer = Type.Object({
  ticket: Type.String({ description: 'for the query of a stream, as `ticket`' }),
  expiresAt: Type.String({ format: 'date-time', description: 'opens streams until then' })
})

export const ErrorAnswer = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  message: Type.String()
})

/** The errors that any route may answer. */
export const ERRORS = { '4xx': ErrorAnswer, '5xx': ErrorAnswer } as const
