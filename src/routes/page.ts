// The page: GET /chat, its assets below /chat/, and / as a shorter way to it. What the page does is
// the page's own business: it speaks to the rest of the service over the public interface only.
import { type FastifyInstance } from 'fastify'
import { serveFiles } from './files.js'

const SERVED = /^\/?[a-z-]+\.(?:html|css|js|js\.map|svg)$/

// Everything the page needs comes from here, and there is no way to run a script that is not one of
// its files: not even by innerHTML, which trusted types refuse.
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
]

/** A Fastify plugin. Takes no options; answers 404 by the app's own handler. */
export async function pageRoutes(app: FastifyInstance): Promise<void> {
  await serveFiles(app, { prefix: '/chat/', served: SERVED, policy: POLICY, decoratesReply: true })
  app.get('/chat', (_request, reply) => reply.sendFile('chat.html'))
  app.get('/', (_request, reply) => reply.redirect('chat'))
}
