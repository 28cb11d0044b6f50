// The HTTP server before any route: Node's and Fastify's limits, how bodies are read, and what
// happens to requests that Fastify never sees. Invariant: a request that breaks HTTP gets an answer
// with a code, as every other refused request does.
import Fastify, { type FastifyInstance } from 'fastify'
import {
  answerBrokenRequest,
  answerExpectations,
  answerTunnels,
  type AnswersDue
} from './broken-requests.js'
import { type SendError } from './errors.js'
import { readJsonBodies } from './json-body.js'
import { HEADERS_MAX } from './request-check.js'

export type HttpServerOptions = {
  readonly bodyBytesMax: number
  /** A request that takes longer to arrive is cut off after one to two times this. */
  readonly requestTimeoutMs: number
  /** Proxies whose X-Forwarded-For is trusted, as Fastify's option `trustProxy`; empty: none. */
  readonly trustProxy: string
}

/**
 * A stream of 100 rooms names each in its URL, with 64 characters of up to 12 bytes (%XX four
 * times), and its cursor has a place for each. Node's default is 16 KiB.
 */
const HEADER_BYTES_MAX = 128 * 1024

export function createHttpServer(
  { bodyBytesMax, requestTimeoutMs, trustProxy }: HttpServerOptions,
  sendError: SendError,
  due: AnswersDue
): FastifyInstance {
  const fastify = Fastify({
    // With a logger, Fastify creates one for each request and listens for the end of each answer,
    // as it does for an onResponse hook. Without both, and with POSTs counted by the thousand, a
    // POST whose store answers at once takes 35 instead of 45 µs (bench/RESULTS.md).
    logger: false,
    trustProxy: trustProxy === '' ? false : trustProxy,
    bodyLimit: bodyBytesMax,
    // The timeout is set twice. Fastify applies the first one to the server it creates; Node would
    // still apply its own limit to the headers.
    requestTimeout: requestTimeoutMs,
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: requestTimeoutMs,
      // Both are needed by request-check.ts: a request without a Host gets our own answer, and a
      // request with two Hosts is not treated as having the first.
      requireHostHeader: false,
      joinDuplicateHeaders: true
    },
    // While the service stops, our own hook refuses requests, with a code.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 2048 },
    // Unknown fields are errors, and nothing is converted silently.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    frameworkErrors: sendError,
    clientErrorHandler: (error, socket) => {
      answerBrokenRequest(error, socket, due)
    }
  })
  fastify.server.maxHeadersCount = HEADERS_MAX
  answerExpectations(fastify.server)
  answerTunnels(fastify.server, due)
  readJsonBodies(fastify)
  return fastify
}
