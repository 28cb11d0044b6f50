// The page: GET /chat, its assets below /chat/, and / as a shortcut. The page uses only the public
// interface of the service.
import { type FastifyInstance } from 'fastify'
import { serveFiles } from './files.js'

const HASHED = /chat-[A-Z0-9]{8}\.(?:js|css)(?:\.map)?$/
const SERVED = new RegExp(`^/?(?:${HASHED.source.slice(0, -1)}|chat\\.html|icon[a-z-]*\\.svg)$`)

// Everything the page needs comes from this service. No script can run that is not one of its
// files, not even through innerHTML, which trusted types refuse.
export const PAGE_POLICY = [
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

/** A Fastify plugin without options. The app's own handler answers 404. */
export async function pageRoutes(app: FastifyInstance): Promise<void> {
  await serveFiles(app, {
    prefix: '/chat/',
    served: SERVED,
    bundled: { immutable: HASHED },
    policy: PAGE_POLICY,
    decoratesReply: true
  })
  app.get('/chat', (_request, reply) => reply.sendFile('chat.html'))
  app.get('/', (_request, reply) => reply.redirect('chat'))
}
