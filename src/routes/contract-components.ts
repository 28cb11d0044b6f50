// The components of /openapi.json: what several operations refer to by name. Schemas are those of
// the routes; names, texts, parameters and errors are described here.
import { STATUS } from '../errors.js'
import { NAME_LENGTH_MAX } from '../message/names.js'
import {
  DialogAnswer,
  DialogsAnswer,
  DeletedRoomAnswer,
  MemberAnswer,
  NewMark,
  UsersAnswer
} from './member-schemas.js'
import { BlocksAnswer, ClusterAnswer, HealthAnswer } from './operation-schemas.js'
import {
  ChangeAnswer,
  DeletedAnswer,
  LostAnswer,
  MessageAnswer,
  NewMessage,
  NewSignal,
  NewText,
  PageAnswer,
  TicketAnswer
} from './schemas.js'

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }
export type JsonObject = { readonly [key: string]: Json | undefined }

const SECURITY: JsonObject = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description:
      'with exp, sub (the user) and dialogs: {read: [...], write: [...], admin}, where a room ends in * for all that begin so, and member stands for the rooms of which the user is a member'
  },
  cookie: {
    type: 'apiKey',
    in: 'cookie',
    name: 'token',
    description:
      'the same token; the name is a setting, and only own and listed origins may send it'
  },
  ticket: {
    type: 'apiKey',
    in: 'query',
    name: 'ticket',
    description: 'of POST /tickets: short-lived, for streams only'
  }
}
export const ref = (kind: string, name: string): JsonObject => ({
  $ref: `#/components/${kind}/${name}`
})
export const schemaRef = (name: string): JsonObject => ref('schemas', name)
export const number = (minimum: number, maximum: number, more: JsonObject = {}): JsonObject => ({
  type: 'integer',
  minimum,
  maximum,
  ...more
})

const SHARED: Readonly<Record<string, unknown>> = {
  NewMessage,
  NewSignal,
  Message: MessageAnswer,
  LostMessage: LostAnswer,
  NewText,
  Change: ChangeAnswer,
  DeletedMessage: DeletedAnswer,
  Page: PageAnswer,
  Users: UsersAnswer,
  Member: MemberAnswer,
  DeletedRoom: DeletedRoomAnswer,
  NewMark,
  Dialog: DialogAnswer,
  Dialogs: DialogsAnswer,
  Blocks: BlocksAnswer,
  Cluster: ClusterAnswer,
  Health: HealthAnswer,
  Ticket: TicketAnswer
}

const PARAMETERS: Readonly<Record<string, JsonObject>> = {
  room: { name: 'room', in: 'path', required: true, schema: schemaRef('Name'), example: 'room123' },
  user: { name: 'user', in: 'path', required: true, schema: schemaRef('Name'), example: 'ann' },
  seq: {
    name: 'seq',
    in: 'path',
    required: true,
    schema: number(1, 999_999_999_999_999),
    description: 'the number of the message in its room'
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    schema: { type: 'string', pattern: '^[!-~]{1,255}$' },
    description: 'a POST repeated with the same key stores one message',
    example: '7d1c9d0e-2c4b-4b5e-9d0a-6f1f6b1f8d4e'
  },
  LastEventId: {
    name: 'Last-Event-ID',
    in: 'header',
    schema: { type: 'string', maxLength: 65536 },
    description: 'the id of the last event seen; wins over the query'
  }
}

/** The components; each text has at most `textMax` characters. */
export function components(textMax: number): Json {
  return {
    securitySchemes: SECURITY,
    schemas: {
      ...Object.fromEntries(
        Object.entries(SHARED).map(([name, schema]) => [name, shared(schema, name)])
      ),
      Name: {
        type: 'string',
        minLength: 1,
        maxLength: NAME_LENGTH_MAX,
        description:
          'characters (code points) of any language in NFC, none of them invisible; no braces, no white space at the ends',
        examples: ['room123', 'ann']
      },
      Text: {
        type: 'string',
        minLength: 1,
        maxLength: textMax,
        description:
          'characters (code points), at least one of them visible; tabs and line breaks are allowed',
        examples: ['hello']
      },
      Error: {
        type: 'object',
        required: ['statusCode', 'code', 'message'],
        properties: {
          statusCode: { type: 'integer', enum: [...new Set(Object.values(STATUS))].sort() },
          code: {
            type: 'string',
            enum: Object.keys(STATUS),
            description: 'stable: branch on it'
          },
          message: { type: 'string', description: 'what to change' }
        },
        examples: [
          {
            statusCode: 400,
            code: 'INVALID_NAME',
            message: 'The user is empty: give it 1 to 64 characters.'
          }
        ]
      }
    },
    parameters: PARAMETERS as JsonObject,
    headers: {
      Location: {
        schema: { type: 'string', format: 'uri-reference' },
        description: 'the path of the message, or of the page'
      },
      AcceptEncoding: {
        schema: { type: 'string' },
        description: 'that bodies must not be compressed (RFC 9110, 12.5.3)'
      },
      NoBuffering: {
        schema: { type: 'string', enum: ['no'] },
        description: 'keeps proxies from holding back the stream'
      },
      Challenge: {
        schema: { type: 'string' },
        description: 'that a Bearer token is asked for, and whether one was refused (RFC 6750)'
      },
      RetryAfter: { schema: number(0, 3600), description: 'seconds after which to try again' },
      RateLimitLimit: {
        schema: number(0, 1_000_000_000),
        description:
          'writes per minute that a caller has, where the service limits them; with 429 whatever limit was reached: writes, bytes or bad tokens per minute, signals per second, or streams'
      },
      RateLimitRemaining: {
        schema: number(0, 1_000_000_000),
        description: 'how many of them are left at the moment'
      },
      RateLimitReset: {
        schema: number(0, 60),
        description: 'seconds until all of them are there again'
      }
    },
    responses: Object.fromEntries(
      [...new Set<number>(Object.values(STATUS))]
        .filter(status => ![405, 412, 416].includes(status))
        .map(status => [`E${status}`, errorResponse(status)])
    )
  }
}

function errorResponse(status: number): Json {
  const codes = Object.entries(STATUS)
    .filter(([, each]) => each === status)
    .map(([code]) => code)
  return {
    description: codes.join(', '),
    ...(status === 401 ? { headers: { 'WWW-Authenticate': ref('headers', 'Challenge') } } : {}),
    ...(status === 415 ? { headers: { 'Accept-Encoding': ref('headers', 'AcceptEncoding') } } : {}),
    ...(status === 503 ? { headers: { 'Retry-After': ref('headers', 'RetryAfter') } } : {}),
    ...(status === 429
      ? { headers: { 'Retry-After': ref('headers', 'RetryAfter'), ...RATE_LIMIT_HEADERS } }
      : {}),
    content: {
      'application/json': {
        schema: schemaRef('Error'),
        example: { statusCode: status, code: codes[0], message: 'what to change' }
      }
    }
  }
}

/** What each answer to a write carries where writes are limited, by the names of the headers. */
export const RATE_LIMIT_HEADERS = {
  'RateLimit-Limit': ref('headers', 'RateLimitLimit'),
  'RateLimit-Remaining': ref('headers', 'RateLimitRemaining'),
  'RateLimit-Reset': ref('headers', 'RateLimitReset')
}

/** The name of a schema among the components; undefined if it has none. */
export const nameOf = (schema: unknown): string | undefined =>
  Object.entries(SHARED).find(([, each]) => each === schema)?.[0]

/** A copy in which shared schemas, names and texts are references. */
function shared(schema: unknown, self?: string): Json {
  if (Array.isArray(schema)) return schema.map(each => shared(each))
  if (typeof schema !== 'object' || schema === null) return schema as Json
  const name = nameOf(schema)
  if (name !== undefined && name !== self) return schemaRef(name)
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      key === 'properties' ? properties(value as JsonObject) : shared(value)
    ])
  )
}

function properties(fields: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => {
      const { type } = field as { type?: string }
      if (type === 'string' && (name === 'room' || name === 'user')) {
        return [name, schemaRef('Name')]
      }
      return [
        name,
        type === 'string' && name === 'text' ? schemaRef('Text') : tuples(shared(field))
      ]
    })
  )
}

// TypeBox writes tuples as JSON Schema had them before 2020-12, and generators of clients do not
// know prefixItems yet.
function tuples(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(tuples)
  if (typeof schema !== 'object' || schema === null) return schema
  const { items, additionalItems, ...rest } = schema as JsonObject
  const inner = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, value === undefined ? value : tuples(value)])
  )
  if (Array.isArray(items)) return { ...inner, items: items[0] as Json }
  return items === undefined ? inner : { ...inner, items: tuples(items) }
}
