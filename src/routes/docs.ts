// /docs: the interface for people to read and try, by Swagger UI over /openapi.json. Everything is served from here.
import fastifyStatic from '@fastify/static'
import { type FastifyInstance } from 'fastify'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

// This file is dist/src/routes/docs.js when it runs.
const WRITTEN = fileURLToPath(new URL('../../../web/', import.meta.url))
const COMPILED = fileURLToPath(new URL('../../web/', import.meta.url))
const VIEWER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

const SERVED = /^\/(?:docs\.html|docs\.js|swagger-ui-bundle\.js|swagger-ui\.css)?$/

// The viewer sets styles of elements by script, which needs no exception, and has its icons as data in its style sheet.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join('; ')

/** A Fastify plugin. Takes no options; answers 404 by the app's own handler. */
export async function docsRoutes (app: FastifyInstance): Promise<void> {
  await app.register(fastifyStatic, {
    root: [WRITTEN, COMPILED, VIEWER],
    prefix: '/docs/',
    index: 'docs.html',
    decorateReply: false,
    allowedPath: (path) => SERVED.test(path),
    cacheControl: false,
    setHeaders (response) {
      response.setHeader('cache-control', 'no-cache')
      response.setHeader('content-security-policy', POLICY)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })

  app.get('/docs', (_request, reply) => reply.redirect('docs/'))
}
