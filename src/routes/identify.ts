// Finds out who a request comes from: by a token in `Authorization: Bearer` or in a cookie, or on a
// stream by a ticket in the query. Invariant: one of them counts, in this order of preference:
// header, ticket, cookie. If that one is not good, the request is refused; another one is never
// tried. Runs before a body is read, and waits for nothing when the token is remembered.
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
  /** Origins of which cookies are taken, besides the service's own. */
  readonly origins: ReadonlySet<string>
  readonly refusals: Refusals
}

const BEARER = /^Bearer +([\w.~+/=-]+) *$/i

/** Every route that the scope has from now on asks for a token. */
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
    // Another scheme is somebody else's, such as a proxy's password.
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
  // A neighbouring host can set one that a browser sends as well.
  if (isTwice) {
    throw new DialogsError('UNAUTHENTICATED', 'The cookie with the token comes twice.')
  }
  const fault = crossSiteFault(method, headers, origins)
  if (fault !== undefined) {
    throw new DialogsError('FORBIDDEN', `The cookie is not taken: ${fault}.`)
  }
}

/** Undefined when there is none; not one string when it comes twice. */
function ticketIn({ query }: FastifyRequest): unknown {
  return (query as { readonly ticket?: unknown }).ticket
}

async function ofTicket(tickets: Pick<Tickets, 'callerOf'>, ticket: unknown): Promise<Caller> {
  const caller = typeof ticket === 'string' ? await tickets.callerOf(ticket) : undefined
  if (caller !== undefined) return caller
  throw new DialogsError(
    'UNAUTHENTICATED',
    'The ticket is not valid, or not any more: ask for another by POST /tickets.'
  )
}

/** Answers the values of the cookie in a Cookie header. */
function cookieReader(name: string): (header: string) => string[] {
  const pattern = new RegExp(
    `(?:^|;)\\s*${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}=([^;]*)`,
    'g'
  )
  return header => [...header.matchAll(pattern)].map(([, value = '']) => value.trim())
}
