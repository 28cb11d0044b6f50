// Whether a page of this service, or of an origin in CORS_ORIGINS, may have sent a request that
// brings a cookie. Browsers attach cookies to whatever any page makes them send: a form, an image,
// a fetch without CORS. They also say where a request comes from, in headers that no page can set.
import { type IncomingHttpHeaders } from 'node:http'

const SAFE = new Set(['GET', 'HEAD'])

/** Why the cookie must be ignored; undefined if it counts. */
export function crossSiteFault(
  method: string,
  headers: IncomingHttpHeaders,
  origins: ReadonlySet<string>
): string | undefined {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (origin !== undefined) {
    // Behind a proxy the scheme is unknown here. With HTTPS, no other page can have this host.
    const isOwn = host !== undefined && /^https?:\/\/(.+)$/.exec(origin)?.[1] === host
    if (origins.has(origin) || (isOwn && (site === undefined || site === 'same-origin'))) {
      return undefined
    }
    return 'a page of another origin sent it: list the origin in CORS_ORIGINS, or send Authorization'
  }
  if (site === 'same-origin' || (site === 'none' && SAFE.has(method))) return undefined
  if (site !== undefined) return 'a page of another site sent it'
  // An old browser, or no browser. A browser does not show the answer to a page of another site.
  if (SAFE.has(method)) return undefined
  return 'nothing says which page sent it: send Origin, or Authorization instead of the cookie'
}
