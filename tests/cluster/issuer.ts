// A service whose tokens are signed by somebody else: by the keys of an identity provider
// (AUTH_JWKS_URL), which is down at the start and rotates its keys later, or by one key whose
// public half is in a file (AUTH_JWT_PUBLIC_KEY). unit/identify and unit/tokens have the details.
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type JWK } from 'jose'
import t from 'tap'
import { JWKS_TIMES } from '../../src/identity/jwks.js'
import { freshRoom, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

/** The keys are asked for again after this pause, or twice as long. */
const FETCHED_MS_MAX = 3 * JWKS_TIMES.retryMs

const cluster = await startCluster(t)
const room = freshRoom()

type Issuer = { readonly jwk: JWK; readonly spki: string; readonly token: () => Promise<string> }
async function issuer(alg: 'ES256' | 'RS256', kid: string): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair(alg)
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    spki: await exportSPKI(publicKey),
    token: () =>
      new SignJWT({ sub: 'ann', dialogs: { read: [room] } })
        .setProtectedHeader({ alg, kid })
        .setExpirationTime('10m')
        .sign(privateKey)
  }
}
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

t.test('keys from a URL that is down at the start, and is rotated later', async t => {
  const [old, next] = [await issuer('ES256', 'old'), await issuer('RS256', 'next')]
  let keys: readonly JWK[] | undefined
  const server = http.createServer((_request, response) => {
    if (keys === undefined) response.writeHead(503).end()
    else response.end(JSON.stringify({ keys }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  // An address is an object for a port of TCP.
  const { port } = server.address() as { readonly port: number }
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: {
      AUTH_JWKS_URL: `http://127.0.0.1:${port}/keys`,
      // It is asked again and again until the keys are there.
      AUTH_REFUSALS_PER_MINUTE_MAX: '0'
    }
  })
  const page = `${url}/rooms/${room}/messages`
  const events = `${url}/rooms/${room}/events`
  const [ofOld, ofNext] = [await old.token(), await next.token()]

  const early = await request(page, { headers: bearer(ofOld) })
  t.match(early, { status: 503, body: { code: 'KEYS_UNAVAILABLE' } }, 'the token may be good')
  t.ok(Number(early.headers.get('retry-after')) >= 1)
  const putOff = openSse(t, events, bearer(ofOld))
  await until('the stream is put off', () => putOff.hasEnded)
  t.match(putOff, { status: 200, text: /^retry: \d+\n\n$/ }, 'so that an EventSource comes back')
  t.match(await request(`${url}/health/ready`), { status: 200 })

  keys = [old.jwk]
  await until(
    'the keys are there',
    async () => (await request(page, { headers: bearer(ofOld) })).status === 200,
    FETCHED_MS_MAX
  )
  const { body } = await request(`${url}/tickets`, { method: 'POST', headers: bearer(ofOld) })
  const byTicket = `${events}?ticket=${String(body['ticket'])}`
  const streams = [openSse(t, events, bearer(ofOld)), openSse(t, byTicket)]
  for (const stream of streams) await stream.isLive()

  keys = [next.jwk]
  t.match(
    await Promise.all([1, 2, 3].map(() => request(page, { headers: bearer(ofNext) }))),
    [{ status: 200 }, { status: 200 }, { status: 200 }],
    'a token of the next key is good from its first request'
  )
  for (const stream of streams) {
    await until('the stream has ended', () => stream.hasEnded)
    t.match(
      stream.text,
      /event: expired\ndata: \{\}\n\n$/,
      'with the key that had signed its token'
    )
  }
  t.match(await request(page, { headers: bearer(ofOld) }), { status: 401 })
  t.match(await request(byTicket), { status: 401 }, 'the ticket has ended, too')

  keys = undefined
  t.match(await request(page, { headers: bearer(await next.token()) }), { status: 200 })
  const another = await (await issuer('ES256', 'another')).token()
  t.match(
    await request(page, { headers: bearer(another) }),
    { status: 503, body: { code: 'KEYS_UNAVAILABLE' } },
    'while the URL does not answer, an unknown key may be a new one'
  )
})

t.test('a public key in a file', async t => {
  const [ours, other] = [await issuer('RS256', 'ours'), await issuer('RS256', 'ours')]
  const file = join(t.testdir(), 'public.pem')
  writeFileSync(file, ours.spki)
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: { AUTH_JWT_PUBLIC_KEY: file }
  })
  const page = `${url}/rooms/${room}/messages`
  const confused = await new SignJWT({ sub: 'ann', dialogs: { admin: true } })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('10m')
    .sign(Buffer.from(ours.spki))
  for (const [what, token, status] of [
    ['its token', await ours.token(), 200],
    ['a token by another key', await other.token(), 401],
    ['a token by the public key as a secret', confused, 401]
  ] as const) {
    t.match(await request(page, { headers: bearer(token) }), { status }, what)
  }
})
