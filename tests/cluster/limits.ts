// Limits per user and address. A request beyond one is told when to come back, a stream in a way
// that an EventSource understands, and other callers are not affected.
import t, { type Test } from 'tap'
import { signToken } from '../../src/cli/sign-token.js'
import { freshRoom, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
const cluster = await startCluster(t)
const { url } = await startService(t, {
  redisNodes: cluster.urls,
  env: {
    AUTH_JWT_SECRET: SECRET,
    WRITES_PER_MINUTE_MAX: '5',
    WRITE_BYTES_PER_MINUTE_MAX: '2000',
    STREAMS_PER_USER_MAX: '2',
    AUTH_REFUSALS_PER_MINUTE_MAX: '3',
    TRUST_PROXY: 'loopback'
  }
})
const { url: open } = await startService(t, {
  redisNodes: cluster.urls,
  env: { WRITES_PER_MINUTE_MAX: '2', STREAMS_PER_ADDRESS_MAX: '1', TRUST_PROXY: 'loopback' }
})
const { url: terse } = await startService(t, {
  redisNodes: cluster.urls,
  env: { WRITE_BYTES_PER_MINUTE_MAX: '300' }
})
const { url: quiet } = await startService(t, {
  redisNodes: cluster.urls,
  env: { SIGNALS_PER_SECOND_MAX: '1' }
})
const { url: untrusting } = await startService(t, {
  redisNodes: cluster.urls,
  env: { WRITES_PER_MINUTE_MAX: '2' }
})

const as = async (user: string): Promise<Record<string, string>> => ({
  authorization: `Bearer ${await signToken(SECRET, { user, ttlS: 600, read: ['*'], write: ['*'] })}`
})
const from = (address: string): Record<string, string> => ({ 'x-forwarded-for': address })

/** Every 429 says which limit was reached, and when to come back. */
function saysWhen(t: Test, headers: Headers, limit: number): void {
  t.equal(headers.get('ratelimit-limit'), String(limit))
  const [remaining = -1, reset = 0, wait = 0] = [
    'ratelimit-remaining',
    'ratelimit-reset',
    'retry-after'
  ].map(name => Number(headers.get(name) ?? -1))
  t.ok(remaining >= 0 && remaining < limit, `RateLimit-Remaining: ${remaining}`)
  t.ok(reset >= 1 && reset <= 60, `RateLimit-Reset: ${reset}`)
  t.ok(wait >= 1 && wait <= reset, `Retry-After: ${wait}`)
}

type Response = { readonly headers?: object; readonly $ref?: string }
type Paths = Record<string, Record<string, { readonly responses: Record<string, Response> }>>

t.test('beyond the writes of a minute, a user is told when to continue', async t => {
  const room = freshRoom()
  const ann = await as('ann')
  for (let n = 1; n <= 5; n++) {
    const { status, headers } = await post(url, room, 'ann', 'x', ann)
    t.equal(status, 201)
    t.equal(headers.get('ratelimit-limit'), '5')
    t.equal(headers.get('ratelimit-remaining'), String(5 - n))
  }
  const { status, headers, body } = await post(url, room, 'ann', 'x', ann)
  t.match(
    { status, body },
    { status: 429, body: { code: 'RATE_LIMITED', message: /try again in/ } }
  )
  // Every answer of a write may carry these headers, and the contract says so.
  const { body: contract } = await request(`${url}/openapi.json`)
  for (const [path, operations] of Object.entries(contract['paths'] as Paths)) {
    for (const [method, { responses }] of Object.entries(operations)) {
      if (method === 'get' || method === 'head') continue
      for (const [code, { headers: declared = {}, $ref }] of Object.entries(responses)) {
        const isDeclared = 'RateLimit-Remaining' in declared
        t.equal(isDeclared, code.startsWith('2'), `${method} ${path} ${code}`)
        if (code === '429') t.equal($ref, '#/components/responses/E429')
      }
    }
  }
  t.match(contract['components'], {
    responses: { E429: { headers: { 'Retry-After': {}, 'RateLimit-Reset': {} } } }
  })
  const wait = Number(headers.get('retry-after'))
  t.ok(wait >= 1 && wait <= 12, `Retry-After: ${wait}`)
  saysWhen(t, headers, 5)
  t.match(
    await request(`${url}/rooms/${room}/messages`, { headers: ann }),
    { status: 200 },
    'reads'
  )
  t.equal((await post(url, room, 'bob', 'x', await as('bob'))).status, 201, 'another user')
  const program = await signToken(SECRET, { isAdmin: true, ttlS: 60 })
  for (let n = 0; n < 7; n++) {
    const { status } = await post(url, room, 'eve', 'x', { authorization: `Bearer ${program}` })
    t.equal(status, 201, "an operator's program")
  }
})

t.test('bytes count, too', async t => {
  const room = freshRoom()
  const carl = await as('carl')
  t.equal((await post(url, room, 'carl', 'x'.repeat(1500), carl)).status, 201)
  const { status, headers } = await post(url, room, 'carl', 'x'.repeat(1500), carl)
  t.equal(status, 429)
  saysWhen(t, headers, 2000)
  t.ok(Number(headers.get('ratelimit-remaining')) < 600, 'what is left of the bytes')
  // A body larger than the limit is taken when nothing else was written.
  t.equal((await post(terse, room, 'carl', 'x'.repeat(400))).status, 201)
  const bytesOnly = await post(terse, room, 'carl', 'x')
  t.equal(bytesOnly.status, 429)
  saysWhen(t, bytesOnly.headers, 300)
})

t.test('too many bad tokens are told when to continue, too', async t => {
  const bad = { authorization: 'Bearer x', ...from('192.0.2.78') }
  for (let n = 1; n <= 3; n++) {
    t.match(await request(`${url}/metrics`, { headers: bad }), { status: 401 })
  }
  const { status, headers, body } = await request(`${url}/metrics`, { headers: bad })
  t.match({ status, body }, { status: 429, body: { code: 'TOO_MANY_REFUSALS' } })
  saysWhen(t, headers, 3)
})

t.test('a process passes on a limited number of signals', async t => {
  const send = (): ReturnType<typeof request> =>
    request(`${quiet}/rooms/${freshRoom()}/signals`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"user":"ann","kind":"typing","data":{}}'
    })
  const answers = await Promise.all([send(), send(), send()])
  const [limited] = answers.filter(({ status }) => status === 429)
  t.match(limited, { body: { code: 'RATE_LIMITED' } })
  if (limited !== undefined) saysWhen(t, limited.headers, 1)
})

t.test('without tokens, the limit applies to the address that a trusted proxy reports', async t => {
  const room = freshRoom()
  for (const expected of [201, 201, 429]) {
    t.equal((await post(open, room, 'ann', 'x', from('192.0.2.1'))).status, expected)
  }
  t.equal((await post(open, room, 'ann', 'x', from('192.0.2.2'))).status, 201, 'another address')
  t.equal(
    (await post(open, room, 'ann', 'x', from('6.6.6.6, 192.0.2.1'))).status,
    429,
    'what the client itself wrote into the header does not count'
  )
  for (const [n, expected] of [201, 201, 429].entries()) {
    const { status } = await post(untrusting, room, 'ann', 'x', from(`192.0.2.${n}`))
    t.equal(status, expected, 'without TRUST_PROXY the header is ignored')
  }
})

t.test('a stream beyond the limit is told to come back, and later finds room', async t => {
  const room = freshRoom()
  for (const [what, base, headers, max] of [
    ['user', url, await as('dora'), 2],
    ['address', open, from('192.0.2.9'), 1]
  ] as const) {
    const at = `${base}/rooms/${room}/events`
    const streams = Array.from({ length: max }, () => openSse(t, at, headers))
    for (const stream of streams) await stream.isLive()
    const beyond = openSse(t, at, headers)
    await until('it is put off', () => beyond.hasEnded)
    t.equal(beyond.status, 200, `${what}: an EventSource tries again`)
    t.match(beyond.text, /^retry: \d+\n\n$/)
    const json = await request(at, { headers: { ...headers, accept: 'application/json' } })
    t.match(json, { status: 429, body: { code: 'RATE_LIMITED' } }, what)
    saysWhen(t, json.headers, max)
    streams[0]?.close()
    await until('there is room', async () => {
      const again = openSse(t, at, headers)
      await until('an answer', () => again.hasEnded || again.events.length > 0)
      return !again.hasEnded
    })
  }
})
