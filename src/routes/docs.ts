// /docs: the interface to read and to try, shown by Swagger UI from /openapi.json. All files come
// from this service.
import { type FastifyInstance } from 'fastify'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { serveFiles } from './files.js'

const VIEWER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

const SERVED = /^\/(?:docs\.html|docs\.js|swagger-ui-bundle\.js|swagger-ui\.css)?$/

// The viewer sets element styles by script, which needs no exception, and has its icons as data
// URLs in its style sheet.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
]

/** A Fastify plugin without options. The app's own handler answers 404. */
export async function docsRoutes(app: FastifyInstance): Promise<void> {
  await serveFiles(app, {
    prefix: '/docs/',
    served: SERVED,
    policy: POLICY,
    index: 'docs.html',
    folders: [VIEWER]
  })
  app.get('/docs', (_request, reply) => reply.redirect('docs/'))
}
