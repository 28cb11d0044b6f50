// /openapi.json: the interface as OpenAPI 3.1, built from the registered routes. Their schemas
// validate requests. What they leave to code with better messages (names, cursors, numbers in a
// query) is described here, and a test compares real answers with the description.
import { type FastifyInstance, type FastifySchema, type RouteOptions } from 'fastify'
import { STATUS } from '../errors.js'
import { NAME_LENGTH_MAX } from '../message/names.js'
import * as schemas from './schemas.js'

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }
type JsonObject = { readonly [key: string]: Json | undefined }

/** How a route describes itself in `config.contract`. */
export type OperationContract = {
  readonly id: string
  readonly tag: 'messages' | 'streams' | 'rooms' | 'members' | 'rights' | 'operations'
  /** Answered without a token, too. */
  readonly isPublic?: boolean
  /** Error statuses besides those that any request may get. */
  readonly errors?: readonly number[]
  /** It takes an Idempotency-Key. */
  readonly isKeyed?: boolean
  /** The media type of a 200 that is not JSON. */
  readonly mediaType?: string
}

declare module 'fastify' {
  // Module augmentation merges interfaces only.
  interface FastifyContextConfig {
    contract?: OperationContract
  }
}

export type ContractOptions = { readonly version: string; readonly textMax: number }

// 408, 417 and 431 are sent before a route is known, 421 for foreign hosts; 500 and 503 are always
// possible. 405 is the answer to what is no operation; 412 and 416 are those of files only.
const ERRORS_OF_ALL = [400, 408, 414, 417, 421, 431, 500, 503]
/** Where a token is asked for: none that is valid, or one without the right. */
const ERRORS_OF_RIGHTS = [401, 403]
/** The first is the open service, which asks for no token. */
const securityOf = (isPublic: boolean, isStream: boolean): Json => [
  {},
  ...(isPublic ? [] : [{ bearer: [] }, { cookie: [] }]),
  ...(isStream ? [{ ticket: [] }] : [])
]
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
const MESSAGE: JsonObject = {
  room: 'room123',
  seq: 1,
  user: 'ann',
  text: 'hello',
  at: '2026-11-23T07:10:57.241Z'
}
/** An example of each body that a request may have. */
const BODIES: Readonly<Record<string, JsonObject>> = {
  NewMessage: { user: 'ann', text: 'hello' },
  NewMark: { seq: 1 },
  NewText: { user: 'ann', text: 'hello again' },
  NewSignal: { user: 'ann', kind: 'typing', data: { for: 'bob' } }
}
const CURSOR = '^\\d{1,15}(-\\d{1,15})?$'

const ref = (kind: string, name: string): JsonObject => ({ $ref: `#/components/${kind}/${name}` })
const schemaRef = (name: string): JsonObject => ref('schemas', name)
const number = (minimum: number, maximum: number, more: JsonObject = {}): JsonObject => ({
  type: 'integer',
  minimum,
  maximum,
  ...more
})

const SHARED: Readonly<Record<string, unknown>> = {
  NewMessage: schemas.NewMessage,
  NewSignal: schemas.NewSignal,
  Message: schemas.MessageAnswer,
  LostMessage: schemas.LostAnswer,
  NewText: schemas.NewText,
  Change: schemas.ChangeAnswer,
  DeletedMessage: schemas.DeletedAnswer,
  Page: schemas.PageAnswer,
  Users: schemas.UsersAnswer,
  Member: schemas.MemberAnswer,
  NewMark: schemas.NewMark,
  Dialog: schemas.DialogAnswer,
  Dialogs: schemas.DialogsAnswer,
  Blocks: schemas.BlocksAnswer,
  Cluster: schemas.ClusterAnswer,
  Health: schemas.HealthAnswer,
  Ticket: schemas.TicketAnswer
}

/** Query fields that are integers or cursors, where the validation takes text. */
const QUERY: Readonly<Record<string, JsonObject>> = {
  limit: {
    schema: number(1, 1000, { default: 50 }),
    description: 'at most this many; a page may end earlier, at a number of bytes'
  },
  last: {
    schema: number(0, 1_000_000_000),
    description: 'start with this many of the newest messages; default: the whole history'
  },
  before: {
    schema: { type: 'string', pattern: CURSOR },
    description: 'cursor: only messages before it'
  },
  lastEventId: {
    schema: { type: 'string', maxLength: 4096 },
    description: 'like the header Last-Event-ID, for clients that cannot send it; the header wins'
  }
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

/** Collects the routes registered after this call. The returned function describes them. */
export function openApi(app: FastifyInstance, options: ContractOptions): () => Json {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', route => {
    if (route.config?.contract !== undefined && route.method !== 'HEAD') routes.push(route)
  })
  let document: Json | undefined
  return () => {
    document ??= describe(routes, options)
    return document
  }
}

function describe(routes: readonly RouteOptions[], { version, textMax }: ContractOptions): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const route of routes) {
    const { contract } = route.config ?? {}
    if (contract === undefined) continue
    const path = route.url.replace(/:(\w+)/g, '{$1}')
    const described = operation(path, contract, route.schema ?? {})
    paths[path] = {
      ...paths[path],
      [String(route.method).toLowerCase()]: described,
      ...(route.method === 'GET' ? { head: headOf(described) } : {})
    }
  }
  const components = Object.fromEntries(
    Object.entries(SHARED).map(([name, schema]) => [name, shared(schema, name)])
  )
  return {
    openapi: '3.1.0',
    info: {
      title: 'Dialogs',
      version,
      license: { name: 'MIT', identifier: 'MIT' },
      description:
        'A chat service over plain HTTP: POST to write, Server-Sent Events to read. Every path answers OPTIONS; any other method gets 405 METHOD_NOT_ALLOWED with the header Allow.'
    },
    servers: [{ url: '/', description: 'the service that this description comes from' }],
    tags: [
      { name: 'messages', description: 'Writing and reading messages' },
      { name: 'streams', description: 'History, then live, as server-sent events' },
      { name: 'rooms', description: 'What a room consists of' },
      { name: 'members', description: "Members of a room, and a person's dialogs" },
      { name: 'rights', description: 'Where the service asks for tokens' },
      { name: 'operations', description: 'For operators' }
    ],
    paths,
    components: {
      securitySchemes: SECURITY,
      schemas: {
        ...components,
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
          description: 'the path of the message'
        },
        Challenge: {
          schema: { type: 'string' },
          description: 'that a Bearer token is asked for, and whether one was refused (RFC 6750)'
        },
        RetryAfter: { schema: number(0, 3600), description: 'seconds after which to try again' }
      },
      responses: Object.fromEntries(
        [...new Set<number>(Object.values(STATUS))]
          .filter(status => ![405, 412, 416].includes(status))
          .map(status => [`E${status}`, errorResponse(status)])
      )
    }
  }
}

function operation(
  path: string,
  {
    id,
    tag,
    isPublic = false,
    errors = [],
    isKeyed = false,
    mediaType = 'application/json'
  }: OperationContract,
  schema: FastifySchema & { summary?: string }
): JsonObject {
  const { querystring, body, response } = schema as {
    querystring?: { properties?: Record<string, JsonObject>; required?: readonly string[] }
    body?: unknown
    response?: Record<string, unknown>
  }
  const isStream = tag === 'streams'
  const parameters: Json[] = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) =>
    ref('parameters', name)
  )
  for (const [name, described] of Object.entries(querystring?.properties ?? {})) {
    if (name === 'lastEventID') continue // another spelling
    parameters.push({
      name,
      in: 'query',
      required: querystring?.required?.includes(name) ?? false,
      ...((id === 'listDialogs' && name === 'before' ? undefined : QUERY[name]) ??
        fieldOfQuery(name, described, isStream))
    })
  }
  if (isStream) parameters.push(ref('parameters', 'LastEventId'))
  if (isKeyed) parameters.push(ref('parameters', 'IdempotencyKey'))
  const answers: Record<string, Json> = {}
  for (const [status, answer] of Object.entries(response ?? {})) {
    if (/^2\d\d$/.test(status)) answers[status] = success(Number(status), answer, mediaType)
  }
  if (isStream || Object.keys(answers).length === 0) {
    answers['200'] = success(200, { type: 'string' }, mediaType)
  }
  for (const status of [
    ...ERRORS_OF_ALL,
    ...(isPublic ? [] : ERRORS_OF_RIGHTS),
    ...errors
  ].sort()) {
    answers[status] = ref('responses', `E${status}`)
  }
  return {
    operationId: id,
    tags: [tag],
    summary: schema.summary,
    security: securityOf(isPublic, isStream),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: schemaRef(nameOf(body) ?? ''),
                example: BODIES[nameOf(body) ?? '']
              }
            }
          }
        }),
    responses: answers
  }
}

/** The same without bodies. */
function headOf(operation: JsonObject): Json {
  const id = String(operation['operationId'])
  return {
    ...operation,
    operationId: `head${id.charAt(0).toUpperCase()}${id.slice(1)}`,
    summary: `The head of: ${String(operation['summary'])}`,
    responses: Object.fromEntries(
      Object.keys(operation['responses'] as JsonObject).map(status => [
        status,
        { description: 'as GET, without a body' }
      ])
    )
  }
}

function fieldOfQuery(name: string, { description }: JsonObject, isStream: boolean): JsonObject {
  if (name === 'room') {
    return {
      schema: { type: 'array', items: schemaRef('Name'), minItems: 1, uniqueItems: true },
      style: 'form',
      explode: true,
      description
    }
  }
  return {
    schema: isStream ? { type: 'string', maxLength: 65536 } : { type: 'string', maxLength: 1024 },
    description
  }
}

function success(status: number, schema: unknown, mediaType: string): Json {
  if (schema === schemas.NoAnswer) return { description: 'Done; no body' }
  const name = nameOf(schema)
  const example = name === 'Message' ? { example: MESSAGE } : {}
  return {
    description:
      mediaType === 'text/event-stream'
        ? 'The stream; if no stream can be opened now, a time to come back after (retry) and its end'
        : status === 201
          ? 'It is stored'
          : 'As asked',
    ...(name === 'Message' && status === 201
      ? { headers: { Location: ref('headers', 'Location') } }
      : {}),
    content: {
      [mediaType]: { schema: name === undefined ? (schema as Json) : schemaRef(name), ...example }
    }
  }
}

function errorResponse(status: number): Json {
  const codes = Object.entries(STATUS)
    .filter(([, each]) => each === status)
    .map(([code]) => code)
  return {
    description: codes.join(', '),
    ...(status === 401 ? { headers: { 'WWW-Authenticate': ref('headers', 'Challenge') } } : {}),
    ...(status === 503 || status === 429
      ? { headers: { 'Retry-After': ref('headers', 'RetryAfter') } }
      : {}),
    content: {
      'application/json': {
        schema: schemaRef('Error'),
        example: { statusCode: status, code: codes[0], message: 'what to change' }
      }
    }
  }
}

const nameOf = (schema: unknown): string | undefined =>
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
