// Finds out who sent a request: by a token in `Authorization: Bearer`, by a ticket in the query of
// a stream, or by a token in a cookie. Invariant: the first of these that is present decides, in
// this order. If it is not valid, the request is refused and the others are not tried. Runs before
// a body is read, and waits for nothing if the token is remembered.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type IncomingHttpHeaders } from 'node:http'
import { DialogsError } from '../errors.js'
import { type Caller } from '../identity/caller.js'
import { type Tickets } from '../identity/tickets.js'
import { type Tokens } from '../identity/tokens.js'
import { crossSiteFault } from './cross-site.js'
import { NoToken, type Refusals } from './refusals.js'

export type IdentifyOptions = {
  readonly tokens: Pick<Tokens, 'callerOf'>
  readonly tickets: Pick<Tickets, 'callerOf'>
  /** The name of the cookie. */
  readonly cookie: string
  /** Pages of these origins may send cookies, besides the service's own pages. */
  readonly origins: ReadonlySet<string>
  readonly refusals: Refusals
}

const BEARER = /^Bearer +([\w.~+/=-]+) *$/i

/** Routes that are added to the scope after this call need a token. */
export function identify(
  scope: FastifyInstance,
  options: IdentifyOptions,
  { takesTickets }: { readonly takesTickets: boolean }
): void {
  const cookies = cookieReader(options.cookie)
  // With a callback, not async: it runs for every POST.
  scope.addHook('onRequest', (request, _reply, done) => {
    let caller: Caller | Promise<Caller>
    try {
      caller = callerOf(request, options, cookies, takesTickets)
    } catch (error) {
      done(options.refusals.answerTo(request, error) as Error)
      return
    }
    if (!(caller instanceof Promise)) {
      request.caller = caller
      done()
      return
    }
    caller.then(
      found => {
        request.caller = found
        done()
      },
      (error: unknown) => {
        done(options.refusals.answerTo(request, error) as Error)
      }
    )
  })
}

function callerOf(
  request: FastifyRequest,
  { tokens, tickets, origins }: IdentifyOptions,
  cookies: (header: string) => string[],
  takesTickets: boolean
): Caller | Promise<Caller> {
  const { headers, method } = request.raw
  const { authorization } = headers
  if (authorization !== undefined) {
    const bearer = BEARER.exec(authorization)?.[1]
    if (bearer !== undefined) return tokens.callerOf(bearer)
    // Another scheme is meant for somebody else: it may be the password of a proxy.
    if (/^Bearer\b/i.test(authorization)) {
      throw new DialogsError('UNAUTHENTICATED', 'The header is not Authorization: Bearer <token>.')
    }
  }
  const ticket = takesTickets ? ticketIn(request) : undefined
  if (ticket !== undefined) return ofTicket(tickets, ticket)
  const [cookie, other] = headers.cookie === undefined ? [] : cookies(headers.cookie)
  if (cookie === undefined) throw new NoToken()
  checkCookie(method ?? 'GET', headers, origins, other !== undefined)
  return tokens.callerOf(cookie)
}

function checkCookie(
  method: string,
  headers: IncomingHttpHeaders,
  origins: ReadonlySet<string>,
  isTwice: boolean
): void {
  // A page of a sibling host can set a second cookie of this name, and browsers send both.
  if (isTwice) {
    throw new DialogsError('UNAUTHENTICATED', 'The request has two cookies with a token: send one.')
  }
  const fault = crossSiteFault(method, headers, origins)
  if (fault !== undefined) {
    throw new DialogsError('FORBIDDEN', `The cookie does not count: ${fault}.`)
  }
}

/** Undefined if there is no ticket, and an array if there are several. */
function ticketIn({ query }: FastifyRequest): unknown {
  return (query as { readonly ticket?: unknown }).ticket
}

async function ofTicket(tickets: Pick<Tickets, 'callerOf'>, ticket: unknown): Promise<Caller> {
  const caller = typeof ticket === 'string' ? await tickets.callerOf(ticket) : undefined
  if (caller !== undefined) return caller
  throw new DialogsError(
    'UNAUTHENTICATED',
    'The ticket is unknown or has expired: get another one by POST /tickets.'
  )
}

/** Returns a function that finds all values of the cookie in a Cookie header. */
function cookieReader(name: string): (header: string) => string[] {
  const pattern = new RegExp(
    `(?:^|;)\\s*${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}=([^;]*)`,
    'g'
  )
  return header => [...header.matchAll(pattern)].map(([, value = '']) => value.trim())
}
