// Lets pages of the origins in CORS_ORIGINS use the service: answers preflights, and tells browsers
// which answers such a page may see. The headers are set on Node's response, so that errors and
// streams have them, too. Not @fastify/cors: that adds a route for OPTIONS to every path, so an
// unknown path would get 405 instead of 404, and streams would lose the headers.
import { type FastifyInstance } from 'fastify'

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const HEADERS = 'authorization, content-type, idempotency-key, last-event-id'
const EXPOSED = 'location, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset'
/** How long a browser keeps the answer to a preflight. Chromium allows no more. */
const PREFLIGHT_S = '7200'

/** Must be called before anything that answers requests is added. */
export function allowOrigins(app: FastifyInstance, origins: ReadonlySet<string>): void {
  const isAny = origins.has('*')
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const { origin } = raw.headers
    const { raw: response } = reply
    // Also set for a request without an Origin, because its cached answer must not be given to a
    // page.
    response.setHeader('vary', 'Origin')
    const isListed = origin !== undefined && origins.has(origin)
    if (!isListed && !(isAny && origin !== undefined)) {
      done()
      return
    }
    response.setHeader('access-control-allow-origin', isListed ? origin : '*')
    // Never with `*`, or any page could read what the cookie gives access to.
    if (isListed) response.setHeader('access-control-allow-credentials', 'true')
    if (raw.method === 'OPTIONS' && raw.headers['access-control-request-method'] !== undefined) {
      response.setHeader('access-control-allow-methods', METHODS)
      response.setHeader('access-control-allow-headers', HEADERS)
      response.setHeader('access-control-max-age', PREFLIGHT_S)
      void reply.code(204).send()
      return
    }
    response.setHeader('access-control-expose-headers', EXPOSED)
    done()
  })
}
