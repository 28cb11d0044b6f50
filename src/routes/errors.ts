// Turns every failure into the one form that clients see: `{statusCode, code, message}`. Refusals
// by Node or the framework get one of our codes too. An unexpected error is a 500; its cause is
// logged but not sent.
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Socket } from 'node:net'
import { type Duplex } from 'node:stream'
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest
} from 'fastify'
import { DialogsError, STATUS } from '../errors.js'
import { type Reports } from '../reports.js'
import { type RateLimited } from './limits.js'
import { allowedMethods, type KnownRoutes } from './known-routes.js'

const RETRY_AFTER_S = 1

/**
 * Headers of every API answer: caches must not keep it, and browsers must not guess another type.
 */
export const API_HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff'
} as const

export type SendError = (error: unknown, request: FastifyRequest, reply: FastifyReply) => void

/**
 * Answers requests that no route takes. This happens before the body is read, whose type and size
 * do not matter then.
 */
export function errorRoutes(app: FastifyInstance, sendError: SendError, routes: KnownRoutes): void {
  const answerUnknown = (request: FastifyRequest, reply: FastifyReply): void => {
    const path = pathOf(request)
    const methods = allowedMethods(routes, path)
    if (methods.length === 0 || methods.includes(request.method)) {
      return sendError(
        new DialogsError(
          'NOT_FOUND',
          `There is no ${request.method} ${path.slice(0, 200)}: see /openapi.json.`
        ),
        request,
        reply
      )
    }
    reply.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (request.method === 'OPTIONS') void reply.code(204).headers(API_HEADERS).send()
    else {
      sendError(
        new DialogsError(
          'METHOD_NOT_ALLOWED',
          `${path.slice(0, 200)} does not take ${request.method}: see the header Allow.`
        ),
        request,
        reply
      )
    }
  }
  app.setErrorHandler(sendError)
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) answerUnknown(request, reply)
    else done()
  })
  // For files that do not exist.
  app.setNotFoundHandler(answerUnknown)
}

export function errorSender(reports: Reports): SendError {
  return (error, request, reply) => {
    const known = error instanceof DialogsError ? error : translate(error)
    const { statusCode, code, message } = known ?? {
      statusCode: STATUS.INTERNAL,
      code: 'INTERNAL',
      message: 'Something went wrong in the service; its log says what.'
    }
    if (known === undefined) {
      reports.report(kindOf(error), {
        level: 'error',
        message: 'a request failed unexpectedly',
        error
      })
    } else if (statusCode === 503) {
      reply.header('retry-after', RETRY_AFTER_S)
      reports.report(code, {
        level: 'warn',
        message,
        fields: { code },
        ...(known.cause === undefined ? {} : { error: known })
      })
    }
    if (statusCode === 401) {
      const isRefused = code === 'TOKEN_EXPIRED' || request.headers.authorization !== undefined
      reply.header(
        'www-authenticate',
        isRefused ? `${CHALLENGE}, error="invalid_token"` : CHALLENGE
      )
    }
    if (code === 'RATE_LIMITED') {
      reply.header('retry-after', (error as Partial<RateLimited>).retryAfterS ?? RETRY_AFTER_S)
    }
    if (code === 'STOPPING') reply.header('connection', 'close')
    // Says which range would be satisfiable.
    const { headers } = error as { readonly headers?: Record<string, string> }
    if (code === 'RANGE_NOT_SATISFIABLE' && headers !== undefined) reply.headers(headers)
    if (code === 'UNSUPPORTED_MEDIA_TYPE') reply.header('accept-encoding', 'identity')
    void reply.code(statusCode).headers(API_HEADERS).send({ statusCode, code, message })
  }
}

// RFC 6750, section 3: name the error only if there was a token.
const CHALLENGE = 'Bearer realm="dialogs"'

// Two unexpected errors are of the same kind if they come from the same place.
function kindOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return stack.split('\n').find(line => /^ +at /.test(line)) ?? stack.slice(0, 200)
}

/**
 * Answers a request whose Expect header cannot be met, in the usual form; without a listener Node
 * sends no body.
 */
export function answerExpectations(server: Server): void {
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const { statusCode, headers, body } = plainAnswer(
      new DialogsError(
        'EXPECTATION_FAILED',
        'The only expectation that can be met is 100-continue: leave out the Expect header.'
      )
    )
    response.writeHead(statusCode, headers).end(body)
  })
}

/** This is no proxy. Without a listener Node closes the connection without an answer. */
export function answerTunnels(server: Server): void {
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => undefined)
    const error = new DialogsError(
      'METHOD_NOT_ALLOWED',
      `${request.url?.slice(0, 200) ?? ''} does not take CONNECT: this is no proxy.`
    )
    socket.end(textOf(plainAnswer(error), { allow: 'GET, HEAD, POST, OPTIONS' }))
  })
}

/** Answers, on its socket, what is not even a request, in the usual form, and closes the socket. */
export function answerBrokenRequest(
  error: NodeJS.ErrnoException & { readonly reason?: string },
  socket: Socket
): void {
  // If an answer has begun on this socket (such as a stream), nothing more can be said. Node's own
  // handler checks the same field.
  const { _httpMessage: answer } = socket as Socket & {
    readonly _httpMessage?: { readonly headersSent: boolean } | null
  }
  if (error.code === 'ECONNRESET' || !socket.writable || answer?.headersSent === true) {
    socket.destroy()
    return
  }
  socket.end(textOf(plainAnswer(ofParser(error))))
}

type PlainAnswer = {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | number>>
  readonly body: string
}

function textOf(
  { statusCode, headers, body }: PlainAnswer,
  more: PlainAnswer['headers'] = {}
): string {
  const head = Object.entries({ ...headers, ...more })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  return `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? ''}\r\n${head}\r\n${body}`
}

function plainAnswer({ statusCode, code, message }: DialogsError): PlainAnswer {
  const body = JSON.stringify({ statusCode, code, message })
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    ...API_HEADERS,
    connection: 'close'
  }
  return { statusCode, headers, body }
}

// https://nodejs.org/docs/latest-v20.x/api/http.html#event-clienterror
function ofParser({
  code,
  reason
}: {
  readonly code?: string | undefined
  readonly reason?: string
}): DialogsError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new DialogsError(
        'REQUEST_TIMEOUT',
        'The request did not arrive in time: send it completely and without pauses.'
      )
    case 'HPE_HEADER_OVERFLOW':
      return new DialogsError(
        'HEADERS_TOO_LARGE',
        'The URL and the headers are too large: shorten them, or ask for fewer rooms.'
      )
    case 'HPE_INVALID_URL':
      return new DialogsError(
        'BAD_REQUEST',
        'The URL has a character that URLs cannot hold: percent-encode it, for example é as %C3%A9.'
      )
    case 'HPE_INVALID_CONSTANT':
      // What a space in a URL leads to.
      return new DialogsError(
        'BAD_REQUEST',
        'The request line is not METHOD URL HTTP/1.1: percent-encode spaces in the URL as %20.'
      )
    default:
      return new DialogsError(
        'BAD_REQUEST',
        `This is not an HTTP/1.1 request${reason === undefined ? '' : ` (${reason})`}.`
      )
  }
}

// https://fastify.dev/docs/latest/Reference/Errors/
function translate(error: unknown): DialogsError | undefined {
  // Whatever is thrown inside Fastify has at most these fields.
  const { code, validation, validationContext, statusCode, message } =
    error as Partial<FastifyError>
  if (validation !== undefined) {
    return new DialogsError(
      validationContext === 'body' ? 'INVALID_BODY' : 'INVALID_QUERY',
      describe(validation, validationContext)
    )
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new DialogsError('BODY_TOO_LARGE', 'The body is too large: shorten the text.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new DialogsError(
        'UNSUPPORTED_MEDIA_TYPE',
        'The body must be JSON: send it with Content-Type: application/json.'
      )
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new DialogsError(
        'INVALID_BODY',
        'The body is empty: send JSON such as {"user":"ann","text":"hello"}.'
      )
    case 'FST_ERR_BAD_URL':
      return new DialogsError(
        'BAD_REQUEST',
        'The URL is not well encoded: percent-encode it as UTF-8.'
      )
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new DialogsError('URI_TOO_LONG', 'A part of the path is too long.')
    default:
      if (statusCode === 412) {
        return new DialogsError(
          'PRECONDITION_FAILED',
          'The file has changed: leave out the condition, or use the current ETag.'
        )
      }
      if (statusCode === 416) {
        return new DialogsError(
          'RANGE_NOT_SATISFIABLE',
          'The file does not reach that far: see the Content-Range header.'
        )
      }
      if (error instanceof SyntaxError || statusCode === 400) {
        return new DialogsError(
          'INVALID_BODY',
          `The request cannot be read: ${message ?? 'it is malformed'}.`
        )
      }
      if (statusCode !== undefined && statusCode > 400 && statusCode < 500) {
        return new DialogsError('BAD_REQUEST', message ?? 'The request is not understood.')
      }
      return undefined
  }
}

function describe(
  validation: NonNullable<FastifyError['validation']>,
  context: string | undefined
): string {
  const [first] = validation
  const where =
    context === 'body' ? 'body' : context === 'querystring' ? 'query' : (context ?? 'request')
  if (first === undefined) return `The ${where} is not valid.`
  const field = first.instancePath.slice(1).replaceAll('/', '.')
  if (first.keyword === 'additionalProperties') {
    return `The ${where} has an unknown field ${JSON.stringify(first.params['additionalProperty'])}: remove it.`
  }
  if (first.keyword === 'required') {
    return `The ${where} lacks the field ${JSON.stringify(first.params['missingProperty'])}: add it.`
  }
  return `The ${where}${field === '' ? '' : `'s field "${field}"`} ${first.message ?? 'is not valid'}.`
}

const pathOf = (request: FastifyRequest): string => request.url.split('?', 1)[0] ?? ''
