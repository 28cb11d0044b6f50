// Requests that do not reach the framework: an Expect that cannot be met, CONNECT, and bytes that
// are not an HTTP request. Each is answered here, on its socket, in the same form as every other
// error.
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Socket } from 'node:net'
import { type Duplex } from 'node:stream'
import { DialogsError } from '../errors.js'
import { type Connections } from './connections.js'
import { API_HEADERS } from './errors.js'

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

/** Which answers are due on a socket. */
export type AnswersDue = Pick<Connections, 'finish' | 'isBusy'>

/**
 * Answers CONNECT with 405, because this is not a proxy. Without a listener Node closes the
 * connection without an answer. So does this behind another request: Node has given the socket up,
 * and the 405 would come before the other answer, or in the middle of a stream.
 */
export function answerTunnels(server: Server, due: AnswersDue): void {
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => undefined)
    if (due.isBusy(request.socket)) {
      socket.destroy()
      return
    }
    const error = new DialogsError(
      'METHOD_NOT_ALLOWED',
      `${request.url?.slice(0, 200) ?? ''} does not take CONNECT: this is not a proxy.`
    )
    socket.end(textOf(plainAnswer(error), { allow: 'GET, HEAD, POST, OPTIONS' }))
  })
}

/**
 * Answers bytes that are not an HTTP request, in the usual form, and closes the socket. Requests
 * before them get their own answers instead. If the head of a request does not arrive in time, the
 * socket is closed without an answer: it may be the request of an EventSource, which comes back
 * after a lost connection, but never after a 408.
 */
export function answerBrokenRequest(
  error: NodeJS.ErrnoException & { readonly reason?: string },
  socket: Socket,
  due: AnswersDue
): void {
  // If an answer has begun on this socket (such as a stream), nothing more can be said. Node's own
  // handler checks the same field.
  const { _httpMessage: answer } = socket as Socket & {
    readonly _httpMessage?: { readonly headersSent: boolean } | null
  }
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (due.finish(socket)) return
  const isHeadLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && !due.isBusy(socket)
  if (answer?.headersSent === true || isHeadLate) {
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
      // A space in a URL leads to this.
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
