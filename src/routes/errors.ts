// Turns every failure into the one form that clients see: `{statusCode, code, message}`. What the framework refuses gets codes of ours;
// what nobody foresaw is a 500 whose cause is logged and not told.
import { STATUS_CODES } from 'node:http'
import { type Socket } from 'node:net'
import { type FastifyBaseLogger, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { DialogsError, messageOf } from '../errors.js'

const RETRY_AFTER_S = 1

export type SendError = (error: unknown, request: FastifyRequest, reply: FastifyReply) => void

export function errorRoutes (app: FastifyInstance, sendError: SendError): void {
  app.setErrorHandler(sendError)
  app.setNotFoundHandler((request, reply) => {
    sendError(new DialogsError('NOT_FOUND', `There is no ${request.method} ${pathOf(request)}: see /openapi.json.`), request, reply)
  })
}

/** @param log the process's own: Fastify is given none (see app.ts) */
export function errorSender (log: Pick<FastifyBaseLogger, 'error' | 'warn'>): SendError {
  return (error, _request, reply) => {
    const known = error instanceof DialogsError ? error : translate(error)
    if (known === undefined) {
      log.error({ error }, 'unforeseen')
      void reply.code(500).send({ statusCode: 500, code: 'INTERNAL', message: 'Something went wrong in the service; its log says what.' })
      return
    }
    if (known.statusCode === 503) {
      reply.header('retry-after', RETRY_AFTER_S)
      log.warn({ code: known.code, cause: messageOf(known.cause) }, known.message)
    }
    if (known.code === 'STOPPING') reply.header('connection', 'close')
    void reply.code(known.statusCode).send({ statusCode: known.statusCode, code: known.code, message: known.message })
  }
}

/** Answers on its socket what does not get as far as a request, in the same form, and closes it. */
export function answerBrokenRequest (error: NodeJS.ErrnoException, socket: Socket): void {
  // As Node's own handler looks whether an answer has begun, a stream for one: then nothing can be said.
  const { _httpMessage: answer } = socket as Socket & { readonly _httpMessage?: { readonly headersSent: boolean } | null }
  if (error.code === 'ECONNRESET' || !socket.writable || answer?.headersSent === true) {
    socket.destroy()
    return
  }
  const { statusCode, code, message } = ofParser(error.code)
  const body = JSON.stringify({ statusCode, code, message })
  const head = [`HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? ''}`, 'content-type: application/json; charset=utf-8', `content-length: ${Buffer.byteLength(body)}`, 'connection: close']
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

// https://nodejs.org/docs/latest-v20.x/api/http.html#event-clienterror
function ofParser (code: string | undefined): DialogsError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new DialogsError('REQUEST_TIMEOUT', 'The request did not arrive in time: send it whole.')
    case 'HPE_HEADER_OVERFLOW':
      return new DialogsError('HEADERS_TOO_LARGE', 'The URL and the headers are too large: shorten them, or ask for fewer rooms.')
    default:
      return new DialogsError('BAD_REQUEST', 'This is no HTTP request.')
  }
}

// https://fastify.dev/docs/latest/Reference/Errors/
function translate (error: unknown): DialogsError | undefined {
  // Whatever is thrown inside Fastify has at most these fields.
  const { code, validation, validationContext, statusCode, message } = error as Partial<FastifyError>
  if (validation !== undefined) return new DialogsError(validationContext === 'body' ? 'INVALID_BODY' : 'INVALID_QUERY', describe(validation, validationContext))
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new DialogsError('BODY_TOO_LARGE', 'The body is too large: shorten the text.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new DialogsError('UNSUPPORTED_MEDIA_TYPE', 'The body must be JSON: send it with Content-Type: application/json.')
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new DialogsError('INVALID_BODY', 'The body is empty: send JSON such as {"user":"ann","text":"hello"}.')
    case 'FST_ERR_BAD_URL':
      return new DialogsError('BAD_REQUEST', 'The URL is not well encoded: percent-encode it as UTF-8.')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new DialogsError('URI_TOO_LONG', 'A part of the path is too long.')
    default:
      if (error instanceof SyntaxError || statusCode === 400) return new DialogsError('INVALID_BODY', `The request cannot be read: ${message ?? 'it is malformed'}.`)
      if (statusCode !== undefined && statusCode > 400 && statusCode < 500) return new DialogsError('BAD_REQUEST', message ?? 'The request is not understood.')
      return undefined
  }
}

function describe (validation: NonNullable<FastifyError['validation']>, context: string | undefined): string {
  const [first] = validation
  const where = context === 'body' ? 'body' : context === 'querystring' ? 'query' : context ?? 'request'
  if (first === undefined) return `The ${where} is not valid.`
  const field = first.instancePath.slice(1).replaceAll('/', '.')
  if (first.keyword === 'additionalProperties') return `The ${where} has an unknown field ${JSON.stringify(first.params['additionalProperty'])}: remove it.`
  if (first.keyword === 'required') return `The ${where} lacks the field ${JSON.stringify(first.params['missingProperty'])}: add it.`
  return `The ${where}${field === '' ? '' : `'s field "${field}"`} ${first.message ?? 'is not valid'}.`
}

const pathOf = (request: FastifyRequest): string => request.url.split('?')[0]?.slice(0, 200) ?? ''
