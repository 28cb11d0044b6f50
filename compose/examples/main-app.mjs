// A main application with Dialogs plugged into it, as small as can be: it knows people and who
// talks with whom, logs people in, and makes each a token that Dialogs accepts. It shares nothing
// with Dialogs but the secret, and is not on the way of any message.
//
//     AUTH_JWT_SECRET=… npm start                              # Dialogs, on port 8080
//     AUTH_JWT_SECRET=… node compose/examples/main-app.mjs     # this, on port 3000
//
//     curl -X POST http://127.0.0.1:3000/login -H 'Content-Type: application/json' \
//       -d '{"user":"ann","password":"ann-demo"}'
import { createHash, timingSafeEqual } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { SignJWT } from 'jose'

/** Short, because a token cannot be revoked. The page logs in again in time. */
const TOKEN_S = 15 * 60

// A real application has these in its database, and passwords as slow hashes.
const PASSWORDS = new Map([
  ['ann', 'ann-demo'],
  ['bob', 'bob-demo'],
  ['eve', 'eve-demo']
])
const DIALOGS = [{ room: 'dialog-1', people: ['ann', 'bob'] }]

const CREDENTIALS = {
  type: 'object',
  required: ['user', 'password'],
  additionalProperties: false,
  properties: {
    user: { type: 'string', maxLength: 64 },
    password: { type: 'string', maxLength: 200 }
  }
}

/** @param {{ secret: string }} options the AUTH_JWT_SECRET of Dialogs */
export function buildMainApp({ secret }) {
  const key = new TextEncoder().encode(secret)
  const app = Fastify()

  app.post('/login', { schema: { body: CREDENTIALS } }, async (request, reply) => {
    const { user, password } = request.body
    if (!isPassword(user, password)) return reply.code(401).send({ message: 'Wrong password.' })
    // Names of rooms are made here, never by people: a name that ends in * would be a pattern.
    const rooms = DIALOGS.filter(({ people }) => people.includes(user)).map(({ room }) => room)
    const token = await new SignJWT({ dialogs: { read: rooms, write: rooms } })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user)
      .setExpirationTime(`${TOKEN_S} s`)
      .sign(key)
    // For an EventSource from the same host. Add Secure if you use HTTPS.
    reply.header(
      'set-cookie',
      `token=${token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${TOKEN_S}`
    )
    return { user, rooms, token, expiresInS: TOKEN_S }
  })

  return app
}

function isPassword(user, password) {
  const hash = text => createHash('sha256').update(text).digest()
  const known = PASSWORDS.get(user)
  const isRight = timingSafeEqual(hash(password), hash(known ?? ''))
  return known !== undefined && isRight
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { AUTH_JWT_SECRET: secret, PORT = '3000' } = process.env
  if (secret === undefined) throw new Error('Set AUTH_JWT_SECRET to the one of Dialogs.')
  console.log(await buildMainApp({ secret }).listen({ host: '127.0.0.1', port: Number(PORT) }))
}
