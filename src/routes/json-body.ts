// Reads the body of a request. Anything that is not plainly JSON in UTF-8 is refused, and nothing
// is guessed: a decoder that replaces what it does not understand would turn two different names
// into one. A field that appears twice is refused as well, because a proxy may have read the other
// one. So is a field that nobody reads: `{"user":"ann"}` with a DELETE is meant to have an effect.
import { isUtf8 } from 'node:buffer'
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { DialogsError } from '../errors.js'

// RFC 9110, section 8.3.1: parameters are name=value or name="value".
const PARAMETER = /;\s*([^\s=;]+)\s*=\s*(?:"([^"]*)"|([^\s;]*))/g
const UTF_8 = /^utf-?8$/i
const BYTE_ORDER_MARK = 0xfeff
const COLON = 58
const BACKSLASH = 92
/** More than a signal's data can have in its 1,024 bytes. */
const DEPTH_MAX = 1000

export function readJsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      // Some clients send the type with every request.
      if (body.length === 0 && takesNoBody(request)) return done(null)
      const fault = codingFault(request.headers)
      if (fault !== undefined) return done(new DialogsError('UNSUPPORTED_MEDIA_TYPE', fault))
      if (!isUtf8(body)) {
        return done(
          new DialogsError('INVALID_BODY', 'The body is not well-formed UTF-8: encode it as UTF-8.')
        )
      }
      const text = body.toString()
      if (text.charCodeAt(0) === BYTE_ORDER_MARK) {
        return done(
          new DialogsError('INVALID_BODY', 'The body begins with a byte order mark: remove it.')
        )
      }
      // Fastify's type allows the parser to return a promise; this one calls back.
      void parse(request, text, (error, value?: unknown) => {
        if (error !== null) return done(error)
        const fields = fieldsIn(value, 0)
        if (takesNoBody(request) && !isEmpty(value)) {
          done(
            new DialogsError(
              'INVALID_BODY',
              'This request takes no body: leave it out, or see /openapi.json for the query.'
            )
          )
        } else if (Number.isNaN(fields)) {
          done(
            new DialogsError('INVALID_BODY', 'The body has a number beyond 1.8e308: send a string.')
          )
        } else if (fields === Infinity) {
          done(new DialogsError('INVALID_BODY', 'The body is nested too deeply: flatten it.'))
        } else if (fields !== fieldsOf(text)) {
          done(new DialogsError('INVALID_BODY', 'The body has a field twice: send each once.'))
        } else done(null, value)
      })
    }
  )
  // Any other type is refused, unless nothing comes with it: `curl -X PUT -d ''` names one.
  app.addContentTypeParser('*', (request, _payload, done) => {
    const { 'content-length': length = '0', 'transfer-encoding': transfer } = request.headers
    if (takesNoBody(request) && Number(length) === 0 && transfer === undefined) return done(null)
    done(
      new DialogsError(
        'UNSUPPORTED_MEDIA_TYPE',
        'The body must be JSON: send it with Content-Type: application/json.'
      )
    )
  })
}

const takesNoBody = ({ routeOptions }: FastifyRequest): boolean =>
  routeOptions.schema?.body === undefined

/** Some clients send an empty object with every request. */
const isEmpty = (value: unknown): boolean =>
  value === null ||
  (typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0)

/**
 * What is wrong with the charset, the content coding or the transfer coding; undefined if nothing
 * is.
 */
function codingFault(
  headers: Readonly<Record<string, string | string[] | undefined>>
): string | undefined {
  const type = String(headers['content-type'])
  if (type.includes(';')) {
    for (const [, name = '', quoted, plain = ''] of type.matchAll(PARAMETER)) {
      if (name.toLowerCase() === 'charset' && !UTF_8.test(quoted ?? plain)) {
        return 'The body must be UTF-8: send no other charset.'
      }
    }
  }
  const { 'content-encoding': coding = 'identity', 'transfer-encoding': transfer = 'chunked' } =
    headers
  if (String(coding).trim().toLowerCase() !== 'identity') {
    return 'The body must not be compressed: send it without Content-Encoding.'
  }
  if (String(transfer).trim().toLowerCase() !== 'chunked') {
    return 'The body must not be compressed: send no Transfer-Encoding other than chunked.'
  }
  return undefined
}

/**
 * The number of field names in a valid JSON text, counting repetitions: strings before a colon. A
 * string is passed over as a whole, because it may hold a colon. `indexOf` takes a third of the 0.8
 * µs that a regular expression took for each POST.
 */
function fieldsOf(json: string): number {
  let count = 0
  for (let at = json.indexOf('"'); at !== -1; at = json.indexOf('"', at + 1)) {
    do at = json.indexOf('"', at + 1)
    while (isEscaped(json, at))
    let next = at + 1
    // In valid JSON these are white space.
    while (json.charCodeAt(next) <= 32) next++
    if (json.charCodeAt(next) === COLON) count++
  }
  return count
}

/** Whether an odd number of backslashes stands before a quotation mark. */
function isEscaped(json: string, at: number): boolean {
  let from = at
  while (json.charCodeAt(from - 1) === BACKSLASH) from--
  return (at - from) % 2 === 1
}

/**
 * The number of fields in the parsed value; infinite if it is nested too deeply for functions that
 * call themselves, such as JSON.stringify, and NaN if it has a number that became infinite, which
 * JSON.stringify would turn into null.
 */
function fieldsIn(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null) return 0
  if (depth === DEPTH_MAX) return Infinity
  const values: unknown[] = Object.values(value)
  let count = Array.isArray(value) ? 0 : values.length
  for (const inner of values) {
    if (typeof inner === 'object') count += fieldsIn(inner, depth + 1)
    else if (inner === Infinity || inner === -Infinity) return NaN
  }
  return count
}
