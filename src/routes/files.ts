// Files for a browser. Bundled files are served from dist/web/, and those written by hand (icons,
// HTML) from web/. Each folder has its own policy, and no browser may load anything from elsewhere.
import fastifyStatic from '@fastify/static'
import { type FastifyInstance } from 'fastify'
import { fileURLToPath } from 'node:url'
import { PACKAGE } from '../places.js'

const WRITTEN = fileURLToPath(new URL('web/', PACKAGE))
const COMPILED = fileURLToPath(new URL('dist/web/', PACKAGE))

const FOR_EVER = 'public, max-age=31536000, immutable'

export type FilesOptions = {
  /** Begins and ends with a slash. */
  readonly prefix: string
  /** Which paths below the prefix are served; the folders also hold sources and build files. */
  readonly served: RegExp
  /**
   * For bundled files, which are all in dist/web/ with their compressed copies beside them. Names
   * that match `immutable` change with the content, so a browser may keep these files for ever.
   */
  readonly bundled?: { readonly immutable: RegExp }
  /** The directives of the Content-Security-Policy. */
  readonly policy: readonly string[]
  /** What the prefix itself shows; by default nothing. */
  readonly index?: string
  /** Further folders to look in. */
  readonly folders?: readonly string[]
  /** Whether `reply.sendFile` serves these files; only one plugin can have this. */
  readonly decoratesReply?: boolean
}

/** Serves files below a prefix. For anything else there, the app's own handler answers 404. */
export async function serveFiles(
  app: FastifyInstance,
  { prefix, served, bundled, policy, index, folders = [], decoratesReply = false }: FilesOptions
): Promise<void> {
  const contentSecurityPolicy = policy.join('; ')
  // The library takes the URL for a path, but a proxy may send an absolute URL.
  app.addHook('onRequest', (request, _reply, done) => {
    request.raw.url = request.raw.url?.replace(/^https?:\/\/[^/?#]*/i, '')
    done()
  })
  await app.register(fastifyStatic, {
    // With several folders, @fastify/static looks for a plain file in the last one only when it
    // also looks for compressed ones.
    root: bundled === undefined ? [WRITTEN, COMPILED, ...folders] : COMPILED,
    prefix,
    index: index ?? false,
    decorateReply: decoratesReply,
    allowedPath: path => served.test(path),
    // For a file without a hash in its name a browser asks each time and usually gets 304, so that
    // no page mixes two versions.
    cacheControl: false,
    preCompressed: bundled !== undefined,
    setHeaders(response, path) {
      const isKept = bundled?.immutable.test(path.replace(/\.(?:br|gz)$/, '')) === true
      response.setHeader('cache-control', isKept ? FOR_EVER : 'no-cache')
      response.setHeader('content-security-policy', contentSecurityPolicy)
      response.setHeader('vary', 'accept-encoding')
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })
}
