// Turns every failure into the one form that clients see: `{statusCode, code, message}`. An
// unexpected error is a 500; its cause is logged but not sent. What the framework refuses gets one
// of our codes in framework-errors.ts, and what does not even reach it in broken-requests.ts.
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { DialogsError, RateLimited, STATUS } from '../errors.js'
import { type Reports } from '../reports.js'
import { translate } from './framework-errors.js'
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
 * Answers requests that no route takes. They are answered before their body is read, because its
 * type and size do not matter.
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
    if (error instanceof RateLimited) {
      reply.headers({
        'retry-after': error.retryAfterS,
        'ratelimit-limit': error.limit,
        'ratelimit-remaining': error.remaining,
        'ratelimit-reset': error.resetS
      })
    }
    // Where a body of HTTP/1.0 ends may be uncertain (request-check.ts).
    if (code === 'STOPPING' || request.raw.httpVersion === '1.0') {
      reply.header('connection', 'close')
    }
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

const pathOf = (request: FastifyRequest): string => request.url.split('?', 1)[0] ?? ''
