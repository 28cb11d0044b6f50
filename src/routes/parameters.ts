// Parses the parts of paths, queries and headers that several routes share, where a schema could
// not say well what is wrong.
import { type FastifyRequest } from 'fastify'
import { DialogsError } from '../errors.js'
import { checkIdempotencyKey } from '../message/names.js'

const PAGE_LIMIT = 50
const PAGE_LIMIT_MAX = 1000

/**
 * The Idempotency-Key of a request.
 * @throws DialogsError INVALID_IDEMPOTENCY_KEY
 */
export function onceOf({ headers }: FastifyRequest): string | undefined {
  const once = headers['idempotency-key']
  if (once === undefined) return undefined
  checkIdempotencyKey(String(once))
  return String(once)
}

/**
 * The sequence in a path.
 * @throws DialogsError INVALID_CURSOR
 */
export function parseSeq(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) {
    throw new DialogsError('INVALID_CURSOR', 'The sequence must be a whole number from 1.')
  }
  return Number(text)
}

/**
 * The `limit` of a page.
 * @throws DialogsError INVALID_QUERY
 */
export function parseLimit(text: string | undefined): number {
  if (text === undefined) return PAGE_LIMIT
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > PAGE_LIMIT_MAX) {
    throw new DialogsError(
      'INVALID_QUERY',
      `The limit must be a whole number from 1 to ${PAGE_LIMIT_MAX}.`
    )
  }
  return limit
}
