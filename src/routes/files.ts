// Files for a browser, served from where they lie: the written ones (HTML, CSS, icons) in web/, the
// compiled ones in dist/web/, so that nothing is copied. A browser may load nothing from elsewhere:
// each folder has a policy of its own.
import fastifyStatic from '@fastify/static'
import { type FastifyInstance } from 'fastify'
import { fileURLToPath } from 'node:url'

// This file is dist/src/routes/files.js when it runs.
const WRITTEN = fileURLToPath(new URL('../../../web/', import.meta.url))
const COMPILED = fileURLToPath(new URL('../../web/', import.meta.url))

export type FilesOptions = {
  /** Begins and ends with a slash. */
  readonly prefix: string
  /** Which paths below the prefix are served: the folders hold sources and build files, too. */
  readonly served: RegExp
  /** The directives of the Content-Security-Policy. */
  readonly policy: readonly string[]
  /** What the prefix itself shows; default: nothing. */
  readonly index?: string
  /** Further folders to look in. */
  readonly folders?: readonly string[]
  /** Whether `reply.sendFile` serves these files: of one plugin only. */
  readonly decoratesReply?: boolean
}

/** Serves files below a prefix. Anything else there is answered 404 by the app's own handler. */
export async function serveFiles(
  app: FastifyInstance,
  { prefix, served, policy, index, folders = [], decoratesReply = false }: FilesOptions
): Promise<void> {
  const contentSecurityPolicy = policy.join('; ')
  await app.register(fastifyStatic, {
    root: [WRITTEN, COMPILED, ...folders],
    prefix,
    index: index ?? false,
    decorateReply: decoratesReply,
    allowedPath: path => served.test(path),
    // Files have no hashes in their names: a browser asks each time and is mostly answered 304, so
    // that no page is ever half of one version and half of another.
    cacheControl: false,
    setHeaders(response) {
      response.setHeader('cache-control', 'no-cache')
      response.setHeader('content-security-policy', contentSecurityPolicy)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })
}
