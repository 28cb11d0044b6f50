// /docs: the interface for people to read and try, by Swagger UI over /openapi.json. Everything is
// served from here.
import { type FastifyInstance } from 'fastify'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { serveFiles } from './files.js'

const VIEWER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

const SERVED = /^\/(?:docs\.html|docs\.js|swagger-ui-bundle\.js|swagger-ui\.css)?$/

// The viewer sets styles of elements by script, which needs no exception, and has its icons as data
// in its style sheet.
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

/** A Fastify plugin. Takes no options; answers 404 by the app's own handler. */
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
