// The page: GET /chat, its assets below /chat/, and / as a shorter way to it. Files are served from where they lie, the
// written ones (HTML, CSS, icon) in web/ and the compiled ones in dist/web/, so nothing is copied. What the page does is
// the page's own business: it speaks to the rest of the service over the public interface only.
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { fileURLToPath } from 'node:url'

// This file is dist/src/routes/page.js when it runs.
const WRITTEN = fileURLToPath(new URL('../../../web/', import.meta.url))
const COMPILED = fileURLToPath(new URL('../../web/', import.meta.url))

// The folders hold sources and build files too.
const SERVED = /^\/?[a-z-]+\.(?:html|css|js|js\.map|svg)$/

// Everything the page needs comes from here, and there is no way to run a script that is not one of its files: not even
// by innerHTML, which trusted types refuse.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'"
].join('; ')

/** A Fastify plugin. Takes no options; answers 404 by the app's own handler. */
export async function pageRoutes (app: FastifyInstance): Promise<void> {
  await app.register(fastifyStatic, {
    root: [WRITTEN, COMPILED],
    prefix: '/chat/',
    index: false,
    allowedPath: (path) => SERVED.test(path),
    // Files have no hashes in their names: a browser asks each time and is mostly answered 304, so that no page is ever
    // half of one version and half of another.
    cacheControl: false,
    setHeaders (response) {
      response.setHeader('cache-control', 'no-cache')
      response.setHeader('content-security-policy', POLICY)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })

  app.get('/chat', (_request, reply) => reply.sendFile('chat.html'))
  app.get('/', (_request, reply) => reply.redirect('chat'))
}
