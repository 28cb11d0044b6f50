// Translates what the framework refuses into our own codes and words.
import { type FastifyError } from 'fastify'
import { DialogsError } from '../errors.js'

/**
 * The error that a client gets instead of one of the framework's; undefined if that one is
 * unexpected. The framework's codes: https://fastify.dev/docs/latest/Reference/Errors/.
 */
export function translate(error: unknown): DialogsError | undefined {
  // Whatever is thrown inside Fastify has at most these fields.
  const { code, validation, validationContext, statusCode, message } =
    error as Partial<FastifyError>
  if (validation !== undefined) {
    return new DialogsError(
      validationContext === 'body' ? 'INVALID_BODY' : 'INVALID_QUERY',
      describe(validation, validationContext)
    )
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new DialogsError('BODY_TOO_LARGE', 'The body is too large: shorten the text.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new DialogsError(
        'UNSUPPORTED_MEDIA_TYPE',
        'The body must be JSON: send it with Content-Type: application/json.'
      )
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new DialogsError(
        'INVALID_BODY',
        'The body is empty: send JSON such as {"user":"ann","text":"hello"}.'
      )
    case 'FST_ERR_BAD_URL':
      return new DialogsError(
        'BAD_REQUEST',
        'The URL is not well encoded: percent-encode it as UTF-8.'
      )
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new DialogsError('URI_TOO_LONG', 'A part of the path is too long.')
    default:
      if (statusCode === 412) {
        return new DialogsError(
          'PRECONDITION_FAILED',
          'The file has changed: leave out the condition, or use the current ETag.'
        )
      }
      if (statusCode === 416) {
        return new DialogsError(
          'RANGE_NOT_SATISFIABLE',
          'The file does not reach that far: see the Content-Range header.'
        )
      }
      if (error instanceof SyntaxError || statusCode === 400) {
        return new DialogsError(
          'INVALID_BODY',
          `The request cannot be read: ${message ?? 'it is malformed'}.`
        )
      }
      if (statusCode !== undefined && statusCode > 400 && statusCode < 500) {
        return new DialogsError('BAD_REQUEST', message ?? 'The request is not understood.')
      }
      return undefined
  }
}

function describe(
  validation: NonNullable<FastifyError['validation']>,
  context: string | undefined
): string {
  const [first] = validation
  const where =
    context === 'body' ? 'body' : context === 'querystring' ? 'query' : (context ?? 'request')
  if (first === undefined) return `The ${where} is not valid.`
  const field = first.instancePath.slice(1).replaceAll('/', '.')
  if (first.keyword === 'additionalProperties') {
    return `The ${where} has an unknown field ${JSON.stringify(first.params['additionalProperty'])}: remove it.`
  }
  if (first.keyword === 'required') {
    return `The ${where} lacks the field ${JSON.stringify(first.params['missingProperty'])}: add it.`
  }
  return `The ${where}${field === '' ? '' : `'s field "${field}"`} ${first.message ?? 'is not valid'}.`
}
