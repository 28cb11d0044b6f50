// What must be right about every request before a route sees it: its host, the encoding of its URL,
// and that none of its headers was dropped. All are checked for every POST, so the common case
// costs five comparisons.
import { type IncomingMessage } from 'node:http'
import { DialogsError } from '../errors.js'
import { type Hosts } from './hosts.js'

/** Node silently drops all headers after so many (http.Server.maxHeadersCount). */
export const HEADERS_MAX = 1000

/** Why the request is refused; undefined if it is not. */
export function requestFault(request: IncomingMessage, hosts: Hosts): DialogsError | undefined {
  // Name, value, name, value …
  if (request.rawHeaders.length > 2 * HEADERS_MAX) {
    return new DialogsError(
      'HEADERS_TOO_LARGE',
      `The request has more than ${HEADERS_MAX} headers: send fewer.`
    )
  }
  return lineFault(request) ?? hostFault(request, hosts) ?? queryFault(request.url ?? '')
}

// Node's parser also takes versions that are not spoken here, and the router takes `*` for `/`.
function lineFault({
  headers,
  httpVersion,
  method,
  url = ''
}: IncomingMessage): DialogsError | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return new DialogsError('BAD_REQUEST', `This is not HTTP/${httpVersion}: send HTTP/1.1.`)
  }
  // RFC 9112, section 6.1: a proxy that speaks only 1.0 passes such a body on without knowing where
  // it ends, so the next request may be a part of it.
  if (httpVersion === '1.0' && headers['transfer-encoding'] !== undefined) {
    return new DialogsError(
      'BAD_REQUEST',
      'HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1.'
    )
  }
  // RFC 9112, section 3.2.4.
  return url === '*' && method !== 'OPTIONS'
    ? new DialogsError('BAD_REQUEST', 'Only OPTIONS takes * for a path: name one.')
    : undefined
}

function hostFault(
  { headers, httpVersion, url = '' }: IncomingMessage,
  hosts: Hosts
): DialogsError | undefined {
  const { host } = headers
  if (host === undefined) {
    // HTTP/1.0 has no Host header, and no browser uses it.
    return httpVersion === '1.0'
      ? undefined
      : new DialogsError('BAD_REQUEST', 'The request has no Host: send one.')
  }
  let fault = hosts.faultOf(host)
  // Proxies may send an absolute URL; its host counts as well (RFC 9112, section 3.2.2).
  if (fault === undefined && !url.startsWith('/') && url !== '*') {
    fault = hosts.faultOf(/^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? '')
  }
  if (fault === 'malformed') {
    return new DialogsError(
      'BAD_REQUEST',
      'The Host is not one host name with an optional port: send one such line.'
    )
  }
  if (fault === 'foreign') {
    return new DialogsError(
      'HOST_NOT_ALLOWED',
      'This service does not answer to that Host: add the name to ALLOWED_HOSTS.'
    )
  }
  return undefined
}

// The router checks the path, but the query parser keeps a wrong encoding as it is: `?room=a%FF`
// would name a room `a%FF`.
function queryFault(url: string): DialogsError | undefined {
  const query = url.indexOf('?')
  if (query === -1 || !url.includes('%', query)) return undefined
  try {
    decodeURIComponent(url.slice(query))
    return undefined
  } catch {
    return new DialogsError(
      'BAD_REQUEST',
      'The query is not well encoded: percent-encode it as UTF-8.'
    )
  }
}
