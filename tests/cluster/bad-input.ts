// Wrong values for every field of every route: each gets a 4xx with a stable code and a message,
// never a 500, and never a key in Redis. Limits are tried at, below and above.
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { freshRoom, request, type Answer } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { markers } from '../../src/redis/markers.js'
import { PEER_PLACES } from '../../src/store/keys.js'

const cluster = await startCluster(t)
const { url, ...service } = await startService(t, {
  redisNodes: cluster.urls,
  env: { TEXT_MAX: '100' }
}).then(service => ({ url: service.url, errors: () => service.errors }))

const JSON_TYPE = { 'content-type': 'application/json' }
const GOOD = { user: 'ann', text: 'hello' }

async function keyCount(): Promise<number> {
  let count = 0
  for (const node of cluster.urls) {
    const client = createClient({ url: node })
    await client.connect()
    if (String(await client.sendCommand(['INFO', 'replication'])).includes('role:master')) {
      count += await client.dbSize()
    }
    await client.disconnect()
  }
  return count
}

const postRaw = (
  path: string,
  body: string | null,
  headers: Record<string, string> = JSON_TYPE
): Promise<Answer> => request(url + path, { method: 'POST', headers, body })
const postJson = (path: string, body: unknown, headers?: Record<string, string>): Promise<Answer> =>
  postRaw(path, JSON.stringify(body), headers)

function refused(t: Test, answer: Answer, statusCode: number, code: string, what: string): void {
  t.match(
    answer,
    { status: statusCode, body: { statusCode, code, message: /.{10,}/ } },
    `${what}: ${statusCode} ${code}`
  )
}

const CHARACTERS: ReadonlyArray<readonly [string, string]> = [
  ['ASCII', 'a'],
  ['Thai', 'ก'],
  ['emoji', '😀'],
  ['Hangul', '한']
]
const BAD_NAMES: ReadonlyArray<readonly [string, string]> = [
  ['a control character', 'a\u0007b'],
  ['a null', 'a\0b'],
  ['a line break', 'a\nb'],
  ['DEL', 'a\u007f'],
  ['a C1 control', 'a\u0085b'],
  ['an opening brace', 'a{b'],
  ['a closing brace', 'a}b'],
  ['leading white space', ' a'],
  ['trailing white space', 'a\u00a0'],
  ['only white space', ' '],
  ['a line separator', 'a\u2028b'],
  ['decomposed letters', 'e\u0301'],
  ['a non-character', 'a\uffff'],
  ['a zero width space', 'ann\u200b'],
  ['only invisible characters', '\u2060\u3164'],
  ['a direction override', 'a\u202eb'],
  ['a joiner without effect', 'a\u200db'],
  ['a no-break space inside', 'a\u00a0b'],
  ['a mark at its start', '\u0301a'],
  ['parent folders', '../..'],
  ['a character of Unicode 17', '\u{323b0}'],
  ['a private character', '\ue000']
]

t.test('names', async t => {
  for (const [what, name] of BAD_NAMES) {
    refused(
      t,
      await postJson(`/rooms/${encodeURIComponent(name)}/messages`, GOOD),
      400,
      'INVALID_NAME',
      `room with ${what}`
    )
    refused(
      t,
      await postJson(`/rooms/${freshRoom()}/messages`, { ...GOOD, user: name }),
      400,
      'INVALID_NAME',
      `user with ${what}`
    )
    for (const path of ['messages', 'messages/1', 'users', 'blocks', 'events']) {
      refused(
        t,
        await request(`${url}/rooms/${encodeURIComponent(name)}/${path}`),
        400,
        'INVALID_NAME',
        `GET ${path} of a room with ${what}`
      )
    }
    refused(
      t,
      await request(`${url}/events?room=${encodeURIComponent(name)}`),
      400,
      'INVALID_NAME',
      `events of a room with ${what}`
    )
  }
  refused(
    t,
    await postRaw(`/rooms/${freshRoom()}/messages`, '{"user":"a\\ud800b","text":"x"}'),
    400,
    'INVALID_NAME',
    'user with half a surrogate pair'
  )
  for (const dots of ['.', '..']) {
    refused(
      t,
      await request(`${url}/events?room=${dots}`),
      400,
      'INVALID_NAME',
      `a room called ${dots}, which no path can contain`
    )
  }
  refused(
    t,
    await postJson(`/rooms/${freshRoom()}/messages`, { ...GOOD, user: '' }),
    400,
    'INVALID_NAME',
    'empty user'
  )
  for (const [what, character] of CHARACTERS) {
    refused(
      t,
      await postJson(`/rooms/${encodeURIComponent(character.repeat(65))}/messages`, GOOD),
      400,
      'INVALID_NAME',
      `65 ${what} characters as room`
    )
    refused(
      t,
      await postJson(`/rooms/${freshRoom()}/messages`, { ...GOOD, user: character.repeat(65) }),
      400,
      'INVALID_NAME',
      `65 ${what} characters as user`
    )
  }
  refused(
    t,
    await postJson(`/rooms/${'a'.repeat(3000)}/messages`, GOOD),
    414,
    'URI_TOO_LONG',
    'a room name that is far too long'
  )
  t.match(
    await request(`${url}/rooms//messages`),
    { status: 400, body: { code: 'INVALID_NAME' } },
    'an empty room'
  )
  refused(
    t,
    await request(`${url}/rooms/%E0%A4%A/messages`),
    400,
    'BAD_REQUEST',
    'broken percent-encoding'
  )
})

t.test('texts', async t => {
  const path = `/rooms/${freshRoom()}/messages`
  for (const [what, text] of [
    ['empty', ''],
    ['blank', ' \n\t'],
    ['with a null', 'a\0'],
    ['with an escape', 'a\u001b[31m'],
    ['of invisible characters', '\u200b\u2060\u3164'],
    ['with a non-character', 'a\ufdd0']
  ] as const) {
    refused(t, await postJson(path, { ...GOOD, text }), 400, 'INVALID_TEXT', `text ${what}`)
  }
  refused(
    t,
    await postRaw(path, '{"user":"ann","text":"\\udc00"}'),
    400,
    'INVALID_TEXT',
    'half a surrogate pair'
  )
  for (const [what, character] of CHARACTERS) {
    refused(
      t,
      await postJson(path, { ...GOOD, text: character.repeat(101) }),
      400,
      'INVALID_TEXT',
      `101 ${what} characters`
    )
  }
})

t.test('bodies', async t => {
  const path = `/rooms/${freshRoom()}/messages`
  for (const [what, body] of [
    ['a number as user', { user: 1, text: 'x' }],
    ['null as user', { user: null, text: 'x' }],
    ['a list as text', { user: 'a', text: ['x'] }],
    ['an object as text', { user: 'a', text: {} }],
    ['true as text', { user: 'a', text: true }],
    ['no user', { text: 'x' }],
    ['no text', { user: 'a' }],
    ['nothing', {}],
    ['a list', []],
    ['a string', 'x'],
    ['null', null],
    ['a number', 5],
    ['an unknown field', { ...GOOD, room: 'x' }],
    ['a prototype', JSON.parse('{"user":"a","text":"x","__proto__":{"x":1}}') as unknown]
  ] as const) {
    refused(t, await postJson(path, body), 400, 'INVALID_BODY', what)
  }
  for (const [what, body] of [
    ['broken JSON', '{"user":'],
    ['no JSON', 'hello'],
    ['an empty body', ''],
    ['two values', '{}{}'],
    ['a poisoned prototype', '{"__proto__":{},"user":"a","text":"x"}']
  ] as const) {
    refused(t, await postRaw(path, body), 400, 'INVALID_BODY', what)
  }
  // The signal's object is one level, its data the others.
  const nested = (depth: number): string =>
    `{"user":"ann","kind":"x","data":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
  const signals = `/rooms/${freshRoom()}/signals`
  for (const [depth, message] of [
    [999, 'more than 1024 bytes'],
    [1000, 'more than 1024 bytes'],
    [1001, 'nested too deeply'],
    [2600, '']
  ] as const) {
    const answer = await postRaw(signals, nested(depth))
    refused(t, answer, 400, 'INVALID_BODY', `${depth} levels`)
    t.ok(String(answer.body['message']).includes(message), String(answer.body['message']))
  }
  t.equal((await postRaw(signals, nested(513))).status, 204, 'as deep as its bytes allow')
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'nonsense'
  ]) {
    refused(
      t,
      await postRaw(path, '{"user":"a","text":"x"}', { 'content-type': type }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      type
    )
  }
  refused(
    t,
    await postRaw(path, `{"user":"a","text":"x"${' '.repeat(12 * 100 + 4096)}}`),
    413,
    'BODY_TOO_LARGE',
    'a body over the limit'
  )
  refused(t, await postRaw(path, null, {}), 400, 'INVALID_BODY', 'no body at all')
})

t.test('idempotency keys', async t => {
  const path = `/rooms/${freshRoom()}/messages`
  for (const [what, key] of [
    ['with a space', 'a b'],
    ['of 256 characters', 'k'.repeat(256)],
    ['with Latin-1', 'schl\u00fcssel']
  ] as const) {
    refused(
      t,
      await postJson(path, GOOD, { ...JSON_TYPE, 'idempotency-key': key }),
      400,
      'INVALID_IDEMPOTENCY_KEY',
      `a key ${what}`
    )
  }
})

t.test('cursors, limits and other parameters', async t => {
  const room = freshRoom()
  const cursors = ['x', '-1', '1.5', '01', '1-', '1-x', '1-2-3', '1e3', ' 1', '9'.repeat(16), '']
  for (const cursor of cursors) {
    for (const where of ['after', 'before']) {
      refused(
        t,
        await request(`${url}/rooms/${room}/messages?${where}=${encodeURIComponent(cursor)}`),
        400,
        'INVALID_CURSOR',
        `messages ${where} "${cursor}"`
      )
    }
    refused(
      t,
      await request(`${url}/rooms/${room}/events?after=${encodeURIComponent(cursor)}`),
      400,
      'INVALID_CURSOR',
      `events after "${cursor}"`
    )
    if (cursor !== '' && cursor !== ' 1') {
      refused(
        t,
        await request(`${url}/rooms/${room}/events`, { headers: { 'last-event-id': cursor } }),
        400,
        'INVALID_CURSOR',
        `Last-Event-ID "${cursor}"`
      )
    }
  }
  for (const limit of ['0', '1001', '-1', 'x', '', '1.5', '1e2']) {
    refused(
      t,
      await request(`${url}/rooms/${room}/messages?limit=${limit}`),
      400,
      'INVALID_QUERY',
      `limit "${limit}"`
    )
  }
  for (const last of ['-1', 'x', '', '1.5', '1000000001']) {
    refused(
      t,
      await request(`${url}/rooms/${room}/events?last=${last}`),
      400,
      'INVALID_QUERY',
      `last "${last}"`
    )
  }
  for (const seq of ['0', '-1', 'x', '1.5', '01', '9'.repeat(16)]) {
    refused(
      t,
      await request(`${url}/rooms/${room}/messages/${seq}`),
      400,
      'INVALID_CURSOR',
      `message "${seq}"`
    )
  }
  for (const path of [
    'messages?x=1',
    'messages?limit=1&limit=2',
    'events?after=1&after=2',
    'events?lastEventId=1&lastEventId=2'
  ]) {
    refused(t, await request(`${url}/rooms/${room}/${path}`), 400, 'INVALID_QUERY', path)
  }
  refused(t, await request(`${url}/events`), 400, 'INVALID_QUERY', 'no room')
  refused(t, await request(`${url}/events?room=a&room=a`), 400, 'INVALID_QUERY', 'a room twice')
  refused(
    t,
    await request(`${url}/events?${Array.from({ length: 101 }, (_, n) => `room=r${n}`).join('&')}`),
    400,
    'INVALID_QUERY',
    '101 rooms'
  )
  refused(
    t,
    await request(`${url}/events?room=a&room=b&after=1`),
    400,
    'INVALID_CURSOR',
    'a cursor for one room over two'
  )
  for (const after of ['%7Dq', '%7Bq%7D', 'a%20b', 'x'.repeat(65), '%7Dq.1']) {
    refused(
      t,
      await request(`${url}/rooms/${room}/blocks?after=${after}`),
      400,
      'INVALID_CURSOR',
      `blocks after ${after}`
    )
  }
  refused(
    t,
    await request(`${url}/rooms/${room}/messages/1`),
    404,
    'MESSAGE_NOT_FOUND',
    'a message that does not exist'
  )
})

t.test('paths that do not exist', async t => {
  for (const [method, path] of [
    ['GET', '/nothing'],
    ['POST', '/nothing'],
    ['DELETE', '/rooms'],
    ['GET', '/rooms/a/nothing'],
    ['GET', '/rooms/a/messages/1/2']
  ] as const) {
    refused(t, await request(url + path, { method }), 404, 'NOT_FOUND', `${method} ${path}`)
  }
})

t.test('none of this left a key in Redis or an unexpected error in the log', async t => {
  // The only keys are the service's own: its markers, and what its processes know of each other.
  t.equal(await keyCount(), markers.length + 3 * PEER_PLACES.length)
  t.notMatch(service.errors(), /failed unexpectedly/)
})

t.test('at and below the limits everything is accepted', async t => {
  for (const [what, character] of CHARACTERS) {
    for (const length of [63, 64]) {
      const name = character.repeat(length)
      t.match(
        await postJson(`/rooms/${encodeURIComponent(name)}/messages`, {
          user: name,
          text: character.repeat(length === 64 ? 100 : 99)
        }),
        { status: 201, body: { room: name, user: name } },
        `${length} ${what} characters`
      )
    }
  }
  const room = freshRoom()
  const path = `/rooms/${room}/messages`
  t.equal(
    (await postRaw(path, `{"user":"a","text":"${'\\u0041'.repeat(100)}"}`)).status,
    201,
    'a text in escapes'
  )
  t.equal(
    (await postRaw(path, `{"user":"a","text":"${'\\ud83d\\ude00'.repeat(100)}"}`)).status,
    201,
    'the longest possible text'
  )
  t.equal(
    (
      await postRaw(path, '{"user":"a","text":"tab\\tand\\nbreak"}', {
        'content-type': 'application/json; charset=utf-8'
      })
    ).status,
    201
  )
  t.equal(
    (await postJson(path, GOOD, { ...JSON_TYPE, 'idempotency-key': 'k'.repeat(255) })).status,
    201
  )
  for (const query of [
    '?limit=1',
    '?limit=999',
    '?limit=1000',
    '?after=0',
    '?before=0',
    '?after=999999999999999'
  ]) {
    t.equal((await request(url + path + query)).status, 200, query)
  }
  const rooms = Array.from({ length: 100 }, (_, n) => `room=r${n}`).join('&')
  const stream = await fetch(`${url}/events?${rooms}`)
  t.equal(stream.status, 200, '100 rooms on one stream')
  await stream.body?.cancel()
})

t.test(
  'a route that takes no body does not mind the type of none, and minds a bad one',
  async t => {
    const path = `${url}/rooms/${freshRoom()}/users/ann`
    const send = (
      method: string,
      body: string | null,
      headers: Record<string, string>
    ): Promise<Answer> => request(path, { method, headers, body })
    for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain']) {
      for (const body of [null, '']) {
        t.match(await send('PUT', body, { 'content-type': type }), { status: /20[01]/ }, type)
        t.match(await send('DELETE', body, { 'content-type': type }), { status: 200 }, type)
      }
      const isJson = type === 'application/json'
      refused(
        t,
        await send('PUT', 'x', { 'content-type': type }),
        isJson ? 400 : 415,
        isJson ? 'INVALID_BODY' : 'UNSUPPORTED_MEDIA_TYPE',
        `${type} with a body`
      )
    }
    refused(
      t,
      await send('PUT', JSON.stringify('x'.repeat(12 * 100 + 4096)), JSON_TYPE),
      413,
      'BODY_TOO_LARGE',
      'a body over the limit'
    )
  }
)
