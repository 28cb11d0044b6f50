// Who a request comes from, by header, ticket or cookie, over real HTTP but without a store.
// cluster/identity tests the same on the whole service.
import { once } from 'node:events'
import http from 'node:http'
import Fastify from 'fastify'
import t from 'tap'
import { signToken } from '../../src/cli/sign-token.js'
import { readConfig } from '../../src/config.js'
import { ANYBODY } from '../../src/identity/caller.js'
import { Jwks, WAITING_MAX } from '../../src/identity/jwks.js'
import { secretKeys } from '../../src/identity/keys.js'
import { type TokenCaller } from '../../src/identity/claims.js'
import { Tokens } from '../../src/identity/tokens.js'
import { allowOrigins } from '../../src/routes/cors.js'
import { Gate } from '../../src/routes/gate.js'
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'
import { NO_MEMBERS } from '../support/no-members.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
const APP = 'https://app.example.com'

/** The user of a token, or the code of its refusal. */
const outcomeOf = async (tokens: Tokens, token: string): Promise<string> =>
  await Promise.resolve()
    .then(() => tokens.callerOf(token))
    .then(
      ({ user }) => user ?? '',
      (error: unknown) => (error as { code: string }).code
    )

const kept = new Map<string, string>()
const gate = new Gate({
  settings: readConfig({ CORS_ORIGINS: APP, AUTH_REFUSALS_PER_MINUTE_MAX: '0' }).identity,
  keys: secretKeys(SECRET),
  members: NO_MEMBERS,
  ticketStore: {
    keep: async (hash, text) => {
      kept.set(hash, text)
    },
    find: async hash => kept.get(hash)
  }
})
const app = Fastify()
app.decorateRequest('caller')
app.addHook('onRequest', (request, _reply, done) => {
  request.caller = ANYBODY
  done()
})
allowOrigins(app, new Set([APP]))
await app.register(async api => {
  gate.guard(api, 'api')
  api.all('/api', request => ({ user: request.caller.user }))
})
await app.register(async streams => {
  gate.guard(streams, 'streams')
  streams.get('/stream', request => ({
    user: request.caller.user,
    mayRead: request.caller.mayRead('a'),
    mayWrite: request.caller.mayWrite('a'),
    isAdmin: request.caller.isAdmin
  }))
})
t.teardown(() => app.close())

const ann = await signToken(SECRET, { user: 'ann', ttlS: 60, read: ['a'], write: ['a'] })
const bob = await signToken(SECRET, { user: 'bob', ttlS: 60 })
const ask = async (
  path: string,
  headers: Record<string, string> = {},
  method: 'GET' | 'POST' = 'GET'
): Promise<{ status: number; user?: string; [field: string]: unknown }> => {
  const { statusCode, body } = await app.inject({
    url: path,
    method,
    headers: { host: 'h', ...headers }
  })
  return { status: statusCode, ...(JSON.parse(body) as object) }
}

t.test('the first that is present decides: header, then ticket, then cookie', async t => {
  const cookie = { cookie: `token=${ann}` }
  t.match(await ask('/api'), { status: 401, code: 'UNAUTHENTICATED' })
  t.match(await ask('/api', { authorization: `bearer ${ann}` }), { status: 200, user: 'ann' })
  t.match(await ask('/api', cookie), { status: 200, user: 'ann' })
  t.match(await ask('/api', { ...cookie, authorization: `Bearer ${bob}` }), { user: 'bob' })
  t.match(await ask('/api', { ...cookie, authorization: 'Bearer x' }), { status: 401 })
  t.match(await ask('/api', { ...cookie, authorization: 'Bearer' }), { status: 401 })
  t.match(await ask('/api', { ...cookie, authorization: 'Basic YTpi' }), { user: 'ann' })
  t.match(await ask('/api', { cookie: `token=${ann}; token=${bob}` }), { status: 401 })
  t.match(await ask('/api', { cookie: `atoken=${ann}` }), { status: 401 })
  const { tickets } = gate
  const { ticket } = await tickets.mint(
    (await new Tokens({
      keys: secretKeys(SECRET),
      members: NO_MEMBERS,
      audience: '',
      issuer: '',
      rememberedMax: 1
    }).callerOf(ann)) as TokenCaller
  )
  t.notOk([...kept.keys()].includes(ticket), 'the store has no ticket, only its hash')
  const ofTicket = { status: 200, user: 'ann', mayRead: true, mayWrite: false, isAdmin: false }
  t.match(await ask(`/stream?ticket=${ticket}`), ofTicket)
  t.match(await ask(`/stream?ticket=${ticket}`, { cookie: `token=${bob}` }), ofTicket)
  t.match(await ask(`/stream?ticket=x`, cookie), { status: 401 })
  t.match(await ask(`/stream?ticket=${ticket}&ticket=${ticket}`, cookie), { status: 401 })
  t.match(await ask(`/api?ticket=${ticket}`), { status: 401 })
  kept.clear()
  t.match(await ask(`/stream?ticket=${ticket}`), { status: 401 })
})

t.test('a cookie is accepted only from pages of this origin and of listed origins', async t => {
  const cookie = { cookie: `token=${ann}` }
  for (const [headers, get, post] of [
    [{}, 200, 403],
    [{ 'sec-fetch-site': 'same-origin' }, 200, 200],
    [{ 'sec-fetch-site': 'none' }, 200, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403, 403],
    [{ origin: 'https://h' }, 200, 200],
    [{ origin: 'https://h', 'sec-fetch-site': 'cross-site' }, 403, 403],
    [{ origin: 'https://h.evil.example' }, 403, 403],
    [{ origin: 'https://evil.example/https://h' }, 403, 403],
    [{ origin: 'null' }, 403, 403],
    [{ origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' }, 403, 403],
    [{ origin: APP, 'sec-fetch-site': 'cross-site' }, 200, 200]
  ] as const) {
    const what = JSON.stringify(headers)
    t.equal((await ask('/api', { ...cookie, ...headers })).status, get, `GET ${what}`)
    t.equal((await ask('/api', { ...cookie, ...headers }, 'POST')).status, post, `POST ${what}`)
  }
})

t.test('too many bad tokens from an address get 429, and lock nobody out', async t => {
  const PER_MINUTE = 5
  const limited = Fastify({ trustProxy: 'loopback' })
  t.teardown(() => limited.close())
  limited.decorateRequest('caller')
  await limited.register(async api => {
    new Gate({
      settings: readConfig({ AUTH_REFUSALS_PER_MINUTE_MAX: String(PER_MINUTE) }).identity,
      keys: secretKeys(SECRET),
      members: NO_MEMBERS,
      ticketStore: { keep: async () => undefined, find: async () => undefined }
    }).guard(api, 'streams')
    api.get('/api', request => ({ user: request.caller.user }))
  })
  const as = async (
    authorization: string,
    { from = '192.0.2.1', query = '' } = {}
  ): Promise<{ status: number; code?: string; message?: string }> => {
    const { statusCode, body } = await limited.inject({
      url: `/api${query}`,
      headers: {
        host: 'h',
        'x-forwarded-for': from,
        ...(authorization === '' ? {} : { authorization })
      }
    })
    return { status: statusCode, ...(JSON.parse(body) as object) }
  }
  const expired = await signToken(SECRET, { user: 'ann', ttlS: -60 })
  for (let n = 0; n < 2 * PER_MINUTE; n++) {
    t.match(await as(''), { status: 401 }, 'a request without a token is not an attempt')
    t.match(await as(`Bearer ${expired}`), { status: 401, code: 'TOKEN_EXPIRED' })
  }
  for (let n = 1; n < PER_MINUTE; n++) t.match(await as(`Bearer x${n}`), { status: 401 })
  t.match(await as('', { query: '?ticket=x' }), { status: 401 }, 'the last attempt; tickets count')
  t.match(await as('Bearer x'), { status: 429, code: 'TOO_MANY_REFUSALS', message: /in \d+ s/ })
  t.match(await as('Bearer'), { status: 429 })
  t.match(await as('', { query: '?ticket=x' }), { status: 429 })
  t.match(await as(`Bearer ${ann}`), { status: 200 }, 'a good token that is new')
  t.match(await as(`Bearer ${ann}`), { status: 200 }, 'and one that was seen before')
  t.match(
    await as(''),
    { status: 401, code: 'UNAUTHENTICATED' },
    'a request without a token is asked for one'
  )
  t.match(await as(`Bearer ${expired}`), { status: 401, code: 'TOKEN_EXPIRED' })
  t.match(await as('Bearer x', { from: '192.0.2.2' }), { status: 401 }, 'another address')
})

t.test('keys from a URL: rotation, a vanished key, and a URL that does not answer', async t => {
  const pair = async (kid: string): Promise<{ jwk: JWK; sign: () => Promise<string> }> => {
    const { publicKey, privateKey } = await generateKeyPair('ES256')
    return {
      jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' },
      sign: () =>
        new SignJWT({ sub: 'ann' })
          .setProtectedHeader({ alg: 'ES256', kid })
          .setExpirationTime('1m')
          .sign(privateKey)
    }
  }
  const [old, next] = [await pair('old'), await pair('next')]
  let keys: JWK[] | undefined
  const server = http.createServer((_request, response) => {
    if (keys === undefined) response.writeHead(500).end()
    else response.end(JSON.stringify({ keys }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address() as { readonly port: number }
  const faults: unknown[] = []
  let changes = 0
  const options = {
    url: `http://127.0.0.1:${address.port}/keys`,
    refreshMs: 100,
    retryMs: 50,
    cooldownMs: 50,
    burst: 1000,
    eachMs: 1,
    staleMs: 60_000,
    timeoutMs: 1000,
    onFault: (error: unknown) => faults.push(error),
    onChange: () => {
      changes++
      tokens.keysChanged()
    }
  }
  const jwks = new Jwks(options)
  const tokens = new Tokens({
    keys: jwks,
    members: NO_MEMBERS,
    audience: '',
    issuer: '',
    rememberedMax: 9
  })
  const code = (token: string): Promise<string> => outcomeOf(tokens, token)
  await jwks.start()
  t.teardown(() => {
    jwks.close()
  })
  const [ofOld, ofNext] = [await old.sign(), await next.sign()]
  t.equal(await code(ofOld), 'KEYS_UNAVAILABLE', 'no answer at the start: 503, not 401')
  t.ok(faults.length > 0, 'and it is reported')
  keys = [old.jwk]
  await until('it comes up', async () => (await code(ofOld)) === 'ann')
  t.equal(await code(ofNext), 'UNAUTHENTICATED', 'an unknown key')
  keys = [old.jwk, next.jwk]
  await until('the new key is accepted', async () => (await code(ofNext)) === 'ann')
  t.equal(await code(ofOld), 'ann', 'and the old one still is')
  keys = undefined
  const failed = faults.length
  await until('the URL does not answer', () => faults.length > failed)
  t.equal(await code(ofOld), 'ann', 'no answer later: the last keys stay in use')
  keys = [next.jwk]
  await until('the old key has gone', async () => (await code(ofOld)) === 'UNAUTHENTICATED')
  t.equal(await code(ofNext), 'ann')
  t.equal(changes, 3)
  jwks.close()
  const stale = new Jwks({ ...options, staleMs: -1, onChange: () => undefined })
  await stale.start()
  await t.rejects(stale.candidatesFor({ alg: 'ES256', kid: 'next' }), { code: 'KEYS_UNAVAILABLE' })
  stale.close()
})

t.test('keys with the same name, or without one, are told apart by what they sign', async t => {
  type Pair = { readonly jwk: JWK; readonly sign: (kid?: string) => Promise<string> }
  const pair = async (alg: 'ES256' | 'RS256' | 'EdDSA', kid?: string): Promise<Pair> => {
    const { publicKey, privateKey } = await generateKeyPair(alg)
    return {
      jwk: { ...(await exportJWK(publicKey)), ...(kid === undefined ? {} : { kid }) },
      sign: named =>
        new SignJWT({ sub: 'ann' })
          .setProtectedHeader({ alg, ...(named === undefined ? {} : { kid: named }) })
          .setExpirationTime('1m')
          .sign(privateKey)
    }
  }
  let keys: readonly JWK[] = []
  const server = http.createServer((_request, response) => {
    response.end(JSON.stringify({ keys }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  // An address is an object for a port of TCP.
  const { port } = server.address() as { readonly port: number }
  const faults: unknown[] = []
  const jwks = new Jwks({
    url: `http://127.0.0.1:${port}/keys`,
    refreshMs: 3_600_000,
    retryMs: 3_600_000,
    cooldownMs: 0,
    burst: 1000,
    eachMs: 1,
    staleMs: 3_600_000,
    timeoutMs: 10_000,
    onFault: error => faults.push(error),
    onChange: () => {
      tokens.keysChanged()
    }
  })
  t.teardown(() => {
    jwks.close()
  })
  const tokens = new Tokens({
    keys: jwks,
    members: NO_MEMBERS,
    audience: '',
    issuer: '',
    rememberedMax: 99
  })
  const outcome = (token: string): Promise<string> => outcomeOf(tokens, token)
  /** The next token with an unknown key makes it fetch the set. */
  const nowKnown = async (...pairs: readonly Pair[]): Promise<void> => {
    keys = pairs.map(({ jwk }) => jwk)
    await outcome(await stranger.sign('unknown'))
  }
  const stranger = await pair('ES256', 'unknown')
  const [ec, rsa, other] = [
    await pair('ES256', 'same'),
    await pair('RS256', 'same'),
    await pair('ES256', 'same')
  ]
  await jwks.start()
  await nowKnown(ec, rsa, other)
  const [ofEc, ofRsa, ofOther] = await Promise.all([ec, rsa, other].map(each => each.sign('same')))
  for (const token of [ofEc, ofRsa, ofOther]) t.equal(await outcome(token ?? ''), 'ann')
  t.equal(await outcome(await stranger.sign('same')), 'UNAUTHENTICATED', 'a forged one')
  await nowKnown(rsa, other)
  t.equal(await outcome(ofEc ?? ''), 'UNAUTHENTICATED', 'one of them has gone')
  t.notOk(tokens.callerOf(ofRsa ?? '') instanceof Promise, 'tokens of the others stay remembered')
  t.notOk(tokens.callerOf(ofOther ?? '') instanceof Promise)
  keys = [...keys].reverse().map(key => Object.fromEntries(Object.entries(key).reverse()))
  await outcome(await stranger.sign('unknown'))
  t.notOk(tokens.callerOf(ofRsa ?? '') instanceof Promise, 'the order of keys and fields is none')

  const nameless = await Promise.all(Array.from({ length: 9 }, () => pair('EdDSA')))
  await nowKnown(...nameless.slice(0, 8))
  for (const each of nameless.slice(0, 8)) t.equal(await outcome(await each.sign()), 'ann')
  t.equal(await outcome(await nameless[8]!.sign()), 'UNAUTHENTICATED')
  await nowKnown(...nameless)
  t.equal(await outcome(await nameless[8]!.sign()), 'UNAUTHENTICATED', 'more than are tried')

  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'oct', alg: 'HS256' }
  keys = [
    { ...(await exportJWK(privateKey)), kid: 'private' },
    { ...(await exportJWK(publicKey)), kid: 'for encryption', use: 'enc' },
    secret,
    { kid: 'broken', kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' },
    ec.jwk
  ]
  for (const kid of ['private', 'for encryption', 'broken']) {
    const token = new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'ES256', kid })
    const signed = await token.setExpirationTime('1m').sign(privateKey)
    t.equal(await outcome(signed), 'UNAUTHENTICATED', kid)
  }
  const shared = new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'HS256', kid: 'oct' })
  const bySecret = await shared.setExpirationTime('1m').sign(Buffer.from('secret'))
  t.equal(await outcome(bySecret), 'UNAUTHENTICATED', 'a secret in the set')
  t.equal(await outcome(await ec.sign('same')), 'ann', 'what is useless beside a key does not harm')

  t.strictSame(faults, [])
  keys = [{ ...ec.jwk, n: 'x'.repeat(256 * 1024) }]
  await outcome(await stranger.sign('unknown'))
  t.match(String(faults), /more than 262144 bytes/)
  t.equal(await outcome(await ec.sign('same')), 'ann', 'the last good set stays in use')
})

t.test('tokens with unknown keys cause no more fetches than allowed', async t => {
  const known = { ...(await exportJWK((await generateKeyPair('ES256')).publicKey)), kid: 'known' }
  let keys = [known]
  let asked = 0
  let held = Promise.resolve()
  let release = (): void => undefined
  const server = http.createServer((_request, response) => {
    asked++
    const text = JSON.stringify({ keys })
    void held.then(() => response.end(text))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  // An address is an object for a port of TCP.
  const { port } = server.address() as { readonly port: number }
  const HOUR_MS = 3_600_000
  const jwksWith = async (cooldownMs: number, burst = 100, eachMs = 1): Promise<Jwks> => {
    const jwks = new Jwks({
      url: `http://127.0.0.1:${port}/keys`,
      refreshMs: HOUR_MS,
      retryMs: HOUR_MS,
      cooldownMs,
      burst,
      eachMs,
      staleMs: HOUR_MS,
      timeoutMs: 10_000,
      onFault: error => t.fail(String(error)),
      onChange: () => undefined
    })
    t.teardown(() => {
      jwks.close()
    })
    await jwks.start()
    return jwks
  }
  // The key is looked up by its name, before any signature is checked.
  const ask = (jwks: Jwks): Promise<unknown> =>
    t.rejects(jwks.candidatesFor({ alg: 'ES256', kid: 'unknown' }), {
      code: 'ERR_JWKS_NO_MATCHING_KEY'
    })

  const PAUSE_MS = 300
  const patient = await jwksWith(PAUSE_MS)
  const begun = performance.now()
  await Promise.all(Array.from({ length: 20 }, () => ask(patient)))
  t.equal(asked, 2, 'tokens that come during the pause wait for one fetch after it')
  t.ok(performance.now() - begun > PAUSE_MS / 2, 'which does not come sooner')
  const waiting = await Promise.all(
    Array.from({ length: WAITING_MAX + 1 }, () =>
      patient
        .candidatesFor({ alg: 'ES256', kid: 'unknown' })
        .catch((error: unknown) => (error as { readonly code: string }).code)
    )
  )
  t.equal(waiting.filter(code => code === 'ERR_JWKS_NO_MATCHING_KEY').length, WAITING_MAX)
  t.equal(waiting.at(-1), 'KEYS_UNAVAILABLE', 'one more than may wait')
  asked = 0
  const eager = await jwksWith(0)
  await Promise.all(Array.from({ length: 20 }, () => ask(eager)))
  t.equal(asked, 2, 'after the pause, tokens that come at once share one')

  held = new Promise(resolve => {
    release = resolve
  })
  const first = eager.candidatesFor({ alg: 'ES256', kid: 'late' })
  await until('it is being asked', () => asked === 3)
  const second = eager.candidatesFor({ alg: 'ES256', kid: 'late' })
  const refused = t.rejects(first, { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  release()
  await refused
  keys = [known, { ...known, kid: 'late' }]
  t.equal((await second).length, 1, 'an answer that may be older than the token does not refuse it')

  asked = 0
  const EACH_MS = 1500
  const flooded = await jwksWith(0, 2, EACH_MS)
  await ask(flooded)
  await ask(flooded)
  t.equal(asked, 3, 'as often as the burst allows')
  const tried = async (): Promise<string> => {
    try {
      await flooded.candidatesFor({ alg: 'ES256', kid: 'newest' })
      return 'found'
    } catch (error) {
      return (error as { readonly code: string }).code
    }
  }
  const floodedAt = performance.now()
  t.equal(await tried(), 'KEYS_UNAVAILABLE', 'then not before some time, and nobody waits for that')
  t.ok(performance.now() - floodedAt < EACH_MS / 2)
  keys = [...keys, { ...known, kid: 'newest' }]
  await until('a new key is found all the same', async () => (await tried()) === 'found')
  t.ok(performance.now() - floodedAt < 2 * EACH_MS, 'within the time between two fetches')
  t.equal(asked, 4)
})
