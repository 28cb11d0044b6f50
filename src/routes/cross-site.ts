// Whether a request that brings a cookie may have been made by a page of this service, or of an
// origin that CORS_ORIGINS lists. A browser sends cookies with whatever any page makes it send: a
// form, an image, a fetch without CORS. Browsers say where a request comes from, in headers that no
// page can change.
import { type IncomingHttpHeaders } from 'node:http'

const SAFE = new Set(['GET', 'HEAD'])

/** Why a cookie is not taken, or undefined when it is. */
export function crossSiteFault(
  method: string,
  headers: IncomingHttpHeaders,
  origins: ReadonlySet<string>
): string | undefined {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (origin !== undefined) {
    // Behind a proxy the scheme is not known here; with HTTPS no other page can have this host.
    const isOwn = host !== undefined && /^https?:\/\/(.+)$/.exec(origin)?.[1] === host
    if (origins.has(origin) || (isOwn && (site === undefined || site === 'same-origin'))) {
      return undefined
    }
    return 'a page of another origin sent it: list the origin in CORS_ORIGINS, or send Authorization'
  }
  if (site === 'same-origin' || (site === 'none' && SAFE.has(method))) return undefined
  if (site !== undefined) return 'a page of another site sent it'
  // An old browser, or none. It does not show a page of another site what it read.
  if (SAFE.has(method)) return undefined
  return 'nothing says which page sent it: send Origin, or Authorization instead of the cookie'
}
