// A service that requires tokens, from the attacker's side: no route works without one, no spelling
// leads into another room, no cookie works across sites, tickets open streams only, streams end
// with their right, and no secret is in any log. unit/tokens tests the tokens themselves.
import http from 'node:http'
import t from 'tap'
import { signToken, type NewToken } from '../../src/cli/sign-token.js'
import { SKEW_S } from '../../src/identity/tokens.js'
import { freshRoom, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
const APP = 'https://app.example.com'
const cluster = await startCluster(t)
const service = await startService(t, {
  redisNodes: cluster.urls,
  env: {
    AUTH_JWT_SECRET: SECRET,
    AUTH_TICKET_S: '6',
    AUTH_REFUSALS_PER_MINUTE_MAX: '0',
    CORS_ORIGINS: APP,
    LOG_LEVEL: 'trace'
  }
})
const { url } = service
const { host } = new URL(url)

const made: string[] = []
async function tokenOf(more: Partial<NewToken>): Promise<string> {
  const token = await signToken(SECRET, { ttlS: 600, ...more })
  made.push(token)
  return token
}
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
/** A token that is valid for this many more seconds, including the tolerance. */
const endingIn = (s: number): { readonly ttlS: number } => ({ ttlS: s - SKEW_S })

const room = freshRoom()
const other = freshRoom()
const ann = await tokenOf({ user: 'ann', read: [room], write: [room] })
const admin = await tokenOf({ isAdmin: true })

async function ticketOf(token: string): Promise<string> {
  const { body } = await request(`${url}/tickets`, { method: 'POST', headers: bearer(token) })
  made.push(String(body['ticket']))
  return String(body['ticket'])
}

t.test('the commands that a start suggests say where the token goes', async t => {
  await until('they are printed', () => service.output.includes('curl -N'))
  const [token, post, read] = service.output.split('\n').slice(1)
  t.equal(token, '  token=$(npm run --silent token -- --user ann --read room123 --write room123)')
  for (const line of [post, read]) t.match(line, '-H "Authorization: Bearer $token"')
  const open = await startService(t, { redisNodes: cluster.urls })
  await until('they are printed', () => open.output.includes('curl -N'))
  t.notMatch(open.output, 'token')
})

t.test(
  'every route except the public ones requires a token before it looks at anything else',
  async t => {
    const { body } = await request(`${url}/openapi.json`)
    const paths = body['paths'] as Record<string, Record<string, { security: object[] }>>
    for (const [path, operations] of Object.entries(paths)) {
      for (const [method, { security }] of Object.entries(operations)) {
        const isPublic = security.length === 1
        t.equal(isPublic, path.startsWith('/health/'), `${path} is described in this way`)
        for (const each of method === 'get' ? ['get', 'head'] : [method]) {
          const response = await fetch(url + path.replace('{room}', room).replace('{seq}', '1'), {
            method: each.toUpperCase()
          })
          t.equal(response.status, isPublic ? 200 : 401, `${each} ${path}`)
          if (isPublic) continue
          t.equal(response.headers.get('www-authenticate'), 'Bearer realm="dialogs"')
        }
      }
    }
    for (const path of ['/chat', '/docs/', '/openapi.json', '/']) {
      t.equal((await fetch(url + path)).status, 200, path)
    }
    t.match(
      await request(`${url}/metrics`, { headers: bearer('x.y.z') }),
      { status: 401, body: { code: 'UNAUTHENTICATED' } },
      'a bad token'
    )
  }
)

t.test('a caller writes in their own name, and reads where they may', async t => {
  t.match(await post(url, room, 'ann', 'hello', bearer(ann)), { status: 201 })
  const nameless = await request(`${url}/rooms/${room}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(ann) },
    body: '{"text":"as myself"}'
  })
  t.match(nameless, { status: 201, body: { user: 'ann' } })
  t.match(await post(url, room, 'bob', 'x', bearer(ann)), {
    status: 403,
    body: { code: 'FORBIDDEN' }
  })
  t.match(await post(url, room, 'Ann', 'x', bearer(ann)), { status: 403 })
  t.match(await post(url, other, 'ann', 'x', bearer(ann)), { status: 403 })
  t.match(await post(url, other, 'bob', 'x', bearer(admin)), { status: 201 }, 'an operator')
  for (const path of ['messages', 'messages/1', 'users', 'events']) {
    const answer = await request(`${url}/rooms/${other}/${path}`, { headers: bearer(ann) })
    t.match(answer, { status: 403, body: { code: 'FORBIDDEN' } }, path)
  }
  t.match(await request(`${url}/rooms/${room}/messages`, { headers: bearer(ann) }), { status: 200 })
  for (const path of ['/metrics', '/cluster', `/rooms/${room}/blocks`]) {
    const as = async (token: string): Promise<number> => {
      const response = await fetch(url + path, { headers: bearer(token) })
      await response.text()
      return response.status
    }
    t.equal(await as(ann), 403, `${path} for a user`)
    t.equal(await as(admin), 200, `${path} for an operator`)
  }
})

t.test('on every route, what the token does not cover is refused and changes nothing', async t => {
  const theirs = freshRoom()
  for (const each of [theirs, room]) await post(url, each, 'bob', "bob's", bearer(admin))
  const { body: page } = await request(`${url}/rooms/${room}/messages`, { headers: bearer(ann) })
  const messages = page['messages'] as ReadonlyArray<{ seq: number; user: string }>
  const bobs = messages.findLast(({ user }) => user === 'bob')?.seq
  const change = { text: 'changed' }
  for (const [method, path, body] of [
    ['GET', '/users/bob/rooms'],
    ['GET', '/users/bob/events'],
    ['PUT', `/rooms/${room}/users/bob/read`, { seq: 1 }],
    ['PUT', `/rooms/${theirs}/users/ann`],
    ['PUT', `/rooms/${theirs}/users/eve`],
    ['DELETE', `/rooms/${theirs}/users/bob`],
    ['PATCH', `/rooms/${theirs}/messages/1`, change],
    ['PATCH', `/rooms/${theirs}/messages/1`, { ...change, user: 'bob' }],
    ['DELETE', `/rooms/${theirs}/messages/1`],
    ['DELETE', `/rooms/${theirs}/messages/1?user=bob`],
    // In a room where they may write, too.
    ['PATCH', `/rooms/${room}/messages/${bobs}`, change],
    ['PATCH', `/rooms/${room}/messages/${bobs}`, { ...change, user: 'bob' }],
    ['DELETE', `/rooms/${room}/messages/${bobs}`],
    ['DELETE', `/rooms/${room}/messages/${bobs}?user=bob`],
    ['POST', `/rooms/${theirs}/signals`, { user: 'ann', kind: 'typing', data: {} }],
    ['POST', `/rooms/${room}/signals`, { user: 'bob', kind: 'typing', data: {} }],
    ['DELETE', `/rooms/${theirs}`],
    ['DELETE', `/rooms/${room}`],
    ['GET', `/rooms/${room}/blocks`],
    ['GET', '/cluster/events']
  ] as const) {
    const answer = await request(url + path, {
      method,
      headers: {
        ...bearer(ann),
        ...(body === undefined ? {} : { 'content-type': 'application/json' })
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    t.match(answer, { status: 403, body: { code: 'FORBIDDEN' } }, `${method} ${path}`)
  }
  for (const each of [theirs, room]) {
    const { body } = await request(`${url}/rooms/${each}/messages`, { headers: bearer(admin) })
    const texts = (body['messages'] as ReadonlyArray<{ text: string }>).map(({ text }) => text)
    t.equal(texts.at(-1), "bob's", 'nothing has changed')
    t.match(await request(`${url}/rooms/${each}/users`, { headers: bearer(admin) }), {
      body: { users: each === theirs ? [{ user: 'bob' }] : [{}, {}] }
    })
  }
})

t.test('a stream of several rooms ends when one of them is lost, and nothing follows', async t => {
  const [stays, goes] = [freshRoom(), freshRoom()]
  for (const each of [stays, goes]) {
    await request(`${url}/rooms/${each}/users/dan`, { method: 'PUT', headers: bearer(admin) })
  }
  const dan = await tokenOf({ user: 'dan', read: ['member'] })
  const path = `${url}/events?room=${stays}&room=${goes}`
  const stream = openSse(t, path, bearer(dan))
  await stream.sees(
    'both live',
    events => events.filter(({ event }) => event === 'live').length > 1
  )
  await request(`${url}/rooms/${goes}/users/dan`, { method: 'DELETE', headers: bearer(admin) })
  for (const each of [stays, goes]) await post(url, each, 'bob', 'too late', bearer(admin))
  await until('it has ended', () => stream.hasEnded)
  t.match(stream.events.at(-1), { event: 'removed', data: { room: goes } })
  t.notMatch(stream.text, /too late/)
  t.match(await request(path, { headers: bearer(dan) }), { status: 403 })
  const again = openSse(t, `${url}/rooms/${stays}/events`, bearer(dan))
  await again.sees('the other room', events =>
    events.some(({ data }) => data['text'] === 'too late')
  )
})

/** fetch would resolve the dots, so the path is sent as it is. */
const rawStatus = (
  method: string,
  path: string,
  headers: Record<string, string>
): Promise<number> =>
  new Promise((resolve, reject) => {
    http
      .request(url, { method, path, headers, agent: false }, response => {
        response.resume()
        response.on('close', () => undefined)
        resolve(response.statusCode ?? 0)
        response.destroy()
      })
      .on('error', reject)
      .end(method === 'POST' ? '{"text":"x"}' : undefined)
  })

t.test("no spelling of a path leads into another's room", async t => {
  const secret = `vault-${room}`
  await post(url, secret, 'bob', 'hidden', bearer(admin))
  const slash = await tokenOf({ user: 'ann', read: ['a/b', 'team-*'], write: ['a/b', 'team-*'] })
  t.equal(
    await rawStatus('GET', '/rooms/a%2Fb/messages', bearer(slash)),
    200,
    'one slash is its own'
  )
  t.equal(await rawStatus('GET', '/rooms/a%2fb/messages', bearer(slash)), 200, 'in either case')
  for (const spelling of [
    secret,
    `%76ault-${room}`,
    `team-x%2F..%2F${secret}`,
    `team-x/../${secret}`,
    `team-x%2F%2E%2E%2F${secret}`,
    `%2e%2e%2F${secret}`,
    `a%2Fb%2F..%2F..%2F${secret}`,
    'a%252Fb',
    'a%2Fb%2F',
    'a%2Fb%00',
    '%EF%BD%94eam-x',
    't%D0%B5am-x',
    'TEAM-x',
    '*',
    '%2A',
    'member',
    `${secret};room=a%2Fb`,
    `${secret}?room=a%2Fb`
  ]) {
    for (const what of ['messages', 'users', 'events']) {
      const path = spelling.includes('?')
        ? `/rooms/${spelling.replace('?', `/${what}?`)}`
        : `/rooms/${spelling}/${what}`
      const status = await rawStatus('GET', path, bearer(slash))
      t.ok([400, 403, 404].includes(status), `GET ${path}: ${status}`)
    }
    const status = await rawStatus(
      'POST',
      `/rooms/${spelling.replace('?', '/messages?')}/messages`,
      {
        ...bearer(slash),
        'content-type': 'application/json'
      }
    )
    t.ok([400, 403, 404].includes(status), `POST ${spelling}: ${status}`)
  }
  const bodied = await request(`${url}/rooms/team-x/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(slash) },
    body: JSON.stringify({ room: secret, text: 'x' })
  })
  t.match(bodied, { status: 400, body: { code: 'INVALID_BODY' } }, 'a room in the body')
  const { body } = await request(`${url}/rooms/${secret}/messages`, { headers: bearer(admin) })
  t.equal(body['head'], 1, 'nothing was written there')
})

t.test('only the first of header, ticket and cookie counts; a later one is no help', async t => {
  const bob = await tokenOf({ user: 'bob', read: [other] })
  const at = (path: string, headers: Record<string, string>): Promise<number> =>
    rawStatus('GET', path, headers)
  const cookie = { cookie: `a=b; token=${ann}` }
  t.equal(await at(`/rooms/${room}/messages`, cookie), 200, 'a cookie')
  t.equal(
    await at(`/rooms/${room}/messages`, { ...cookie, ...bearer(bob) }),
    403,
    'the header counts'
  )
  t.equal(await at(`/rooms/${room}/messages`, { ...cookie, ...bearer('x') }), 401, 'also a bad one')
  t.equal(await at(`/rooms/${room}/messages`, { ...cookie, authorization: 'Bearer' }), 401)
  t.equal(await at(`/rooms/${room}/messages`, { ...cookie, authorization: 'Basic YTpi' }), 200)
  t.equal(
    await at(`/rooms/${room}/messages`, { cookie: `token=${ann}; token=${bob}` }),
    401,
    'twice'
  )
  t.equal(await at(`/rooms/${room}/messages`, { cookie: `xtoken=${ann}` }), 401)
  t.equal(await at(`/rooms/${room}/events?token=${ann}`, {}), 401, 'no token in a query')
  t.equal(
    await at(`/rooms/${room}/events?ticket=${ann}`, cookie),
    401,
    'a bad ticket, a good cookie'
  )
  const ticket = await ticketOf(bob)
  t.equal(await at(`/rooms/${room}/events?ticket=${ticket}`, cookie), 403, 'the ticket counts')
  t.equal(await at(`/rooms/${room}/events?ticket=${ticket}`, { ...cookie, ...bearer(ann) }), 200)
})

t.test('a cookie is accepted only from pages of this origin and of listed origins', async t => {
  const path = `/rooms/${room}/messages`
  const json = { 'content-type': 'application/json' }
  const cookie = { cookie: `token=${ann}` }
  for (const [what, method, headers, status] of [
    [
      'a form',
      'POST',
      { origin: 'https://evil.example', 'content-type': 'application/x-www-form-urlencoded' },
      403
    ],
    [
      'a form of type text',
      'POST',
      { origin: 'https://evil.example', 'content-type': 'text/plain' },
      403
    ],
    ['a form without an origin', 'POST', { origin: 'null', 'content-type': 'text/plain' }, 403],
    [
      'fetch no-cors',
      'POST',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'content-type': 'text/plain' },
      403
    ],
    [
      'fetch no-cors, which claims to be JSON',
      'POST',
      { 'sec-fetch-site': 'cross-site', ...json },
      403
    ],
    ['a neighbouring site', 'POST', { 'sec-fetch-site': 'same-site', ...json }, 403],
    ['another port', 'POST', { origin: 'http://127.0.0.1:1', ...json }, 403],
    [
      'a host that begins like this one',
      'POST',
      { origin: `http://${host}.evil.example`, ...json },
      403
    ],
    [
      'an origin that contains this one',
      'POST',
      { origin: `https://evil.example/http://${host}`, ...json },
      403
    ],
    [
      'this host, but marked as cross-site',
      'POST',
      { origin: `http://${host}`, 'sec-fetch-site': 'cross-site', ...json },
      403
    ],
    ['a link', 'POST', { 'sec-fetch-site': 'none', ...json }, 403],
    ['a request that does not say where it is from', 'POST', json, 403],
    [
      'an image',
      'GET',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
      403
    ],
    [
      'own page',
      'POST',
      { origin: `http://${host}`, 'sec-fetch-site': 'same-origin', ...json },
      201
    ],
    [
      'a page of this origin in an older browser',
      'POST',
      { origin: `https://${host}`, ...json },
      201
    ],
    ['a listed origin', 'POST', { origin: APP, 'sec-fetch-site': 'cross-site', ...json }, 201],
    ['own page reads', 'GET', { 'sec-fetch-site': 'same-origin' }, 200],
    ['typed into the browser', 'GET', { 'sec-fetch-site': 'none' }, 200]
  ] as const) {
    t.equal(await rawStatus(method, path, { ...cookie, ...headers }), status, what)
  }
  const image = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', ...cookie }
  t.equal(await rawStatus('GET', `/rooms/${room}/events`, image), 403, 'an image opens no stream')
  t.equal(await rawStatus('POST', '/tickets', image), 403, 'and gets no ticket')
  t.equal(
    await rawStatus('POST', path, { origin: 'https://evil.example', ...json, ...bearer(ann) }),
    201,
    'a header always counts: no page can send it without permission'
  )
})

t.test('pages of other origins get what they may see: preflights, errors and streams', async t => {
  const preflight = (origin: string): Promise<Response> =>
    fetch(`${url}/rooms/${room}/messages`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST' }
    })
  const allowed = await preflight(APP)
  t.equal(allowed.status, 204)
  t.match(Object.fromEntries(allowed.headers), {
    'access-control-allow-origin': APP,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': /POST.*DELETE/,
    'access-control-allow-headers': /authorization.*idempotency-key/,
    'access-control-max-age': '7200',
    vary: 'Origin'
  })
  for (const origin of [
    'https://evil.example',
    `${APP}.evil.example`,
    'http://app.example.com',
    'null'
  ]) {
    const refused = await preflight(origin)
    t.equal(refused.headers.get('access-control-allow-origin'), null, origin)
    t.equal(refused.headers.get('vary'), 'Origin')
  }
  const error = await request(`${url}/rooms/${room}/messages`, { headers: { origin: APP } })
  t.match(error, { status: 401 })
  t.equal(error.headers.get('access-control-allow-origin'), APP, 'errors can be read')
  t.match(error.headers.get('access-control-expose-headers'), /location, retry-after/)
  const stream = openSse(t, `${url}/rooms/${room}/events?ticket=${await ticketOf(ann)}`, {
    origin: APP
  })
  await stream.isLive()
  t.equal(stream.headers['access-control-allow-origin'], APP, 'streams can be read')
  t.equal(
    (await fetch(`${url}/nowhere`, { method: 'OPTIONS', headers: { origin: APP } })).status,
    404
  )
})

t.test('a ticket opens streams while it is valid, and nothing else', async t => {
  const ticket = await ticketOf(ann)
  for (let n = 1; n <= 2; n++) {
    const stream = openSse(t, `${url}/rooms/${room}/events?last=0&ticket=${ticket}`)
    await stream.isLive()
    stream.close()
  }
  t.equal(await rawStatus('GET', `/events?room=${room}&ticket=${ticket}`, {}), 200, 'several rooms')
  t.equal(await rawStatus('GET', `/rooms/${other}/events?ticket=${ticket}`, {}), 403, "the token's")
  t.equal(await rawStatus('GET', `/rooms/${room}/messages?ticket=${ticket}`, {}), 401, 'no page')
  t.equal(await rawStatus('GET', `/metrics?ticket=${ticket}`, {}), 401)
  const json = { 'content-type': 'application/json' }
  t.equal(await rawStatus('POST', `/rooms/${room}/messages?ticket=${ticket}`, json), 401, 'no POST')
  t.equal(await rawStatus('POST', `/tickets?ticket=${ticket}`, {}), 401, 'no further ticket')
  t.equal(await rawStatus('GET', `/rooms/${room}/messages`, bearer(ticket)), 401, 'no token')
  t.equal(
    await rawStatus('GET', `/rooms/${room}/events?ticket=${ticket}&ticket=${ticket}`, {}),
    401,
    'twice in one query'
  )
  for (const wrong of ['', 'x', ticket.slice(1), `${ticket}x`, `${ticket.slice(0, -1)}*`]) {
    t.equal(await rawStatus('GET', `/rooms/${room}/events?ticket=${wrong}`, {}), 401, 'a wrong one')
  }
  await until('the ticket is refused', async () => {
    const status = await rawStatus('GET', `/rooms/${room}/events?ticket=${ticket}`, {})
    return status === 401
  })
  const brief = await ticketOf(await tokenOf({ user: 'ann', read: [room], ...endingIn(4) }))
  const stream = openSse(t, `${url}/rooms/${room}/events?last=0&ticket=${brief}`)
  await stream.sees('its token’s end', events => events.some(({ event }) => event === 'expired'))
  t.equal(
    await rawStatus('GET', `/rooms/${room}/events?ticket=${brief}`, {}),
    401,
    'with its token'
  )
  const operator = await ticketOf(admin)
  t.equal(await rawStatus('GET', `/rooms/${other}/events?ticket=${operator}`, {}), 200)
})

t.test("a person's list shows no message of a room that the token may not read", async t => {
  const secret = freshRoom()
  const carl = await tokenOf({ user: 'carl', read: [room], write: [room, secret] })
  await post(url, room, 'carl', 'for all', bearer(carl))
  await post(url, secret, 'carl', 'under the rose', bearer(carl))
  type Dialogs = { rooms: Array<{ room: string; head: number; last: { text: string } | null }> }
  const listOf = async (token: string): Promise<Map<string, string | undefined>> => {
    const { body } = await request(`${url}/users/carl/rooms`, { headers: bearer(token) })
    return new Map((body as unknown as Dialogs).rooms.map(({ room, last }) => [room, last?.text]))
  }
  const whole = new Map([
    [room, 'for all'],
    [secret, 'under the rose']
  ])
  const member = await tokenOf({ user: 'carl', read: ['member'] })
  await until('both are in the list', async () => (await listOf(member)).size === 2)
  // Both at the same time, because the answers to equal requests are shared.
  const [hidden, shown] = await Promise.all([listOf(carl), listOf(member)])
  t.strictSame(hidden, new Map([...whole, [secret, undefined]]))
  t.strictSame(shown, whole)
  t.strictSame(await listOf(admin), whole)
  const mark = await request(`${url}/rooms/${secret}/users/carl/read`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', ...bearer(carl) },
    body: '{"seq":1}'
  })
  t.match(mark, { status: 200, body: { head: 1, read: 1, last: null } })

  const path = `${url}/users/carl/events`
  const narrow = openSse(t, path, bearer(carl))
  const wide = openSse(t, path, bearer(member))
  await narrow.sees('live', events => events.some(({ event }) => event === 'live'))
  await wide.sees('live', events => events.some(({ event }) => event === 'live'))
  await post(url, secret, 'carl', 'under the rose again', bearer(carl))
  await until('the wide one sees it', () => wide.text.includes('rose again'))
  await narrow.sees('its number', events => events.some(({ data }) => data['head'] === 2))
  t.match(narrow.text, /for all/)
  t.notMatch(narrow.text, /rose/)
})

t.test('a stream ends with its token, and nothing later is sent on it', async t => {
  const token = await tokenOf({ user: 'ann', read: [room], ...endingIn(4) })
  const stream = openSse(t, `${url}/rooms/${room}/events?last=0`, bearer(token))
  await stream.isLive()
  await post(url, room, 'ann', 'in time', bearer(ann))
  await stream.sees('the event', events => events.some(({ event }) => event === 'expired'))
  await post(url, room, 'ann', 'too late', bearer(ann))
  await until('it has ended', () => stream.hasEnded)
  t.match(stream.text, /in time/)
  t.notMatch(stream.text, /too late/)
  t.match(stream.text, /event: expired\ndata: \{\}\n\n$/, 'it is the last thing')
  const again = await request(`${url}/rooms/${room}/events`, { headers: bearer(token) })
  t.match(
    again,
    { status: 401, body: { code: 'TOKEN_EXPIRED' } },
    'an EventSource gives up for good'
  )
  t.match(again.headers.get('www-authenticate'), /invalid_token/)
})

t.test('a stream needs the right to each of its rooms; the refusal names the room', async t => {
  const several = await request(`${url}/events?room=${room}&room=${other}`, {
    headers: bearer(ann)
  })
  t.match(several, { status: 403, body: { code: 'FORBIDDEN', message: new RegExp(other) } })
})

t.test('no token, ticket, secret or text is in any log', async t => {
  const logged = service.errors + service.output
  for (const secret of [SECRET, ...made, 'in time', 'too late', 'hidden', 'the rose']) {
    t.notOk(logged.includes(secret), secret.slice(0, 12))
    const signature = secret.split('.')[2]
    if (signature !== undefined) t.notOk(logged.includes(signature), 'not its signature')
  }
})
