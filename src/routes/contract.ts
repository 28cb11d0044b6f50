// /openapi.json: the interface as OpenAPI 3.1, built from the registered routes. Their schemas
// validate requests. What they leave to code with better messages (names, cursors, numbers in a
// query) is described here, and a test compares real answers with the description.
import { type FastifyInstance, type FastifySchema, type RouteOptions } from 'fastify'
import {
  components,
  type Json,
  type JsonObject,
  nameOf,
  number,
  RATE_LIMIT_HEADERS,
  ref,
  schemaRef
} from './contract-components.js'
import { NoAnswer } from './schemas.js'

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
  /** A browser is sent to a page instead. */
  readonly hasPage?: boolean
}

declare module 'fastify' {
  // Module augmentation merges interfaces only.
  interface FastifyContextConfig {
    contract?: OperationContract
  }
}

export type ContractOptions = { readonly version: string; readonly textMax: number }

// Errors that any operation may answer. 408, 417 and 431 are sent before a route is known, 421 for
// foreign hosts; 500 and 503 are always possible. Not 405, which is for methods that a path does
// not take, and not 412 and 416, which are for files.
const ERRORS_OF_ALL = [400, 408, 414, 417, 421, 431, 500, 503]
/**
 * Errors of operations that may need a token: none that is valid, one without the right, or too
 * many bad ones. 429 is also the answer to too many writes, signals or streams.
 */
const ERRORS_OF_RIGHTS = [401, 403, 429]
/** Errors of requests that may have a body, even where none is asked for. */
const ERRORS_OF_BODIES = [413, 415]
/** The ways to log in. The empty one is for the open service, which asks for no token. */
const securityOf = (isPublic: boolean, isStream: boolean): Json => [
  {},
  ...(isPublic ? [] : [{ bearer: [] }, { cookie: [] }]),
  ...(isStream ? [{ ticket: [] }] : [])
]
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
    const described = operation(path, contract, {
      ...route.schema,
      isWrite: route.method !== 'GET'
    })
    paths[path] = {
      ...paths[path],
      [String(route.method).toLowerCase()]: described,
      ...(route.method === 'GET' ? { head: headOf(described) } : {})
    }
  }
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
    components: components(textMax)
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
    mediaType = 'application/json',
    hasPage = false
  }: OperationContract,
  schema: FastifySchema & { summary?: string; readonly isWrite: boolean }
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
    if (/^2\d\d$/.test(status)) {
      answers[status] = success(Number(status), answer, mediaType, schema.isWrite)
    }
  }
  if (isStream || Object.keys(answers).length === 0) {
    answers['200'] = success(200, { type: 'string' }, mediaType, schema.isWrite)
  }
  if (hasPage) {
    answers['302'] = {
      description: 'to the page, for a browser (Accept: text/html)',
      headers: { Location: ref('headers', 'Location') }
    }
  }
  for (const status of [
    ...ERRORS_OF_ALL,
    ...(isPublic ? [] : ERRORS_OF_RIGHTS),
    ...(schema.isWrite ? ERRORS_OF_BODIES : []),
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

function success(status: number, schema: unknown, mediaType: string, isWrite: boolean): Json {
  const limits = isWrite ? RATE_LIMIT_HEADERS : {}
  if (schema === NoAnswer) return { description: 'Done; no body', ...headersOf(limits) }
  const name = nameOf(schema)
  const example = name === 'Message' ? { example: MESSAGE } : {}
  return {
    description:
      mediaType === 'text/event-stream'
        ? 'The stream; if no stream can be opened now, a time to come back after (retry) and its end'
        : status === 201
          ? 'It is stored'
          : 'As asked',
    ...headersOf({
      ...(name === 'Message' && status === 201 ? { Location: ref('headers', 'Location') } : {}),
      ...(mediaType === 'text/event-stream'
        ? { 'X-Accel-Buffering': ref('headers', 'NoBuffering') }
        : {}),
      ...limits
    }),
    content: {
      [mediaType]: { schema: name === undefined ? (schema as Json) : schemaRef(name), ...example }
    }
  }
}

const headersOf = (headers: JsonObject): JsonObject =>
  Object.keys(headers).length === 0 ? {} : { headers }
