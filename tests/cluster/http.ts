// HTTP as clients expect it, over plain sockets where a client library would not allow the request:
// encodings, hosts, methods, conditions. Every answer has the form of the API, and badly encoded
// text is never stored.
import { once } from 'node:events'
import net from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { freshRoom, post, readAll, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'

const cluster = await startCluster(t)
const service = await startService(t, {
  redisNodes: cluster.urls,
  env: { ALLOWED_HOSTS: 'chat.example.com, .inside.example' }
})
const { url } = service
const { port } = new URL(url)

type RawAnswer = { readonly status: number; readonly head: string; readonly text: string }

/**
 * Sends bytes as they are, and reads until the connection is closed. The request must ask for that.
 */
async function raw(bytes: string | Buffer): Promise<RawAnswer> {
  const socket = net.connect(Number(port), '127.0.0.1')
  socket.write(bytes)
  let all = ''
  socket.on('data', chunk => {
    all += String(chunk)
  })
  await once(socket, 'close')
  const [head = '', ...rest] = all.split('\r\n\r\n')
  return {
    status: Number(head.split(' ')[1]),
    head: head.toLowerCase(),
    text: rest.join('\r\n\r\n')
  }
}

function refused(t: Test, answer: RawAnswer, status: number, code: string, what: string): void {
  t.equal(answer.status, status, what)
  t.match(answer.head, /\r\ncontent-type: application\/json; charset=utf-8/, `${what}: JSON`)
  t.match(
    JSON.parse(answer.text),
    { statusCode: status, code, message: /.{10,}/ },
    `${what}: ${code}`
  )
}

const postBytes = (room: string, body: Buffer, headers = ''): Promise<RawAnswer> =>
  raw(
    Buffer.concat([
      Buffer.from(
        `POST /rooms/${room}/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${headers}\r\n`
      ),
      body
    ])
  )
const bodyOf = (user: Buffer, text: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from('{"user":"'),
    user,
    Buffer.from('","text":"'),
    text,
    Buffer.from('"}')
  ])
const latin = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Byte sequences that are not UTF-8, with what is wrong with each. */
const BROKEN: ReadonlyArray<readonly [string, string]> = [
  ['a byte that never occurs', '\xff'],
  ['Latin-1', 'caf\xe9'],
  ['a lone continuation', '\x80'],
  ['an overlong slash', '\xc0\xaf'],
  ['an overlong null', '\xc0\x80'],
  ['an overlong of three bytes', '\xe0\x80\xaf'],
  ['a surrogate', '\xed\xa0\x80'],
  ['beyond U+10FFFF', '\xf4\x90\x80\x80'],
  ['a truncated sequence', '\xe2\x82'],
  ['a truncated emoji', '\xf0\x9f\x98']
]

t.test('bytes that are not UTF-8 are refused wherever they appear, and never stored', async t => {
  const room = freshRoom()
  for (const [what, bytes] of BROKEN) {
    refused(
      t,
      await postBytes(room, bodyOf(latin(bytes), latin('x'))),
      400,
      'INVALID_BODY',
      `${what} in a user`
    )
    refused(
      t,
      await postBytes(room, bodyOf(latin('ann'), latin(`a${bytes}`))),
      400,
      'INVALID_BODY',
      `${what} in a text`
    )
    const escaped = [...latin(bytes)].map(byte => `%${byte.toString(16)}`).join('')
    for (const path of [
      `/rooms/a${escaped}/messages`,
      `/rooms/a${escaped}/events`,
      `/events?room=a${escaped}b`,
      `/rooms/${room}/messages?after=${escaped}`,
      `/rooms/${room}/users?${escaped}=1`,
      `/chat?chat_id=${escaped}`
    ]) {
      t.match(
        await request(url + path),
        { status: 400, body: { statusCode: 400, code: 'BAD_REQUEST', message: 'percent-encode' } },
        `${what} in ${path}`
      )
    }
    for (const header of ['Last-Event-ID', 'Idempotency-Key']) {
      const method = header === 'Last-Event-ID' ? 'GET' : 'POST'
      const path = method === 'GET' ? 'events' : 'messages'
      const body = '{"user":"ann","text":"x"}'
      const answer = await raw(
        latin(
          `${method} /rooms/${room}/${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n${header}: 1${bytes}\r\n${method === 'GET' ? '' : `Content-Length: ${body.length}\r\n`}\r\n${method === 'GET' ? '' : body}`
        )
      )
      t.equal(answer.status, 400, `${what} in ${header}`)
      t.match(answer.text, /INVALID_CURSOR|INVALID_IDEMPOTENCY_KEY|BAD_REQUEST/)
    }
  }
  for (const escape of ['\\ud800', '\\udc00', '\\ude00\\ud83d', '\\ud83d\\ud83d']) {
    refused(
      t,
      await postBytes(room, bodyOf(latin(escape), latin('x'))),
      400,
      'INVALID_NAME',
      `${escape} in a user`
    )
    refused(
      t,
      await postBytes(room, bodyOf(latin('ann'), latin(escape))),
      400,
      'INVALID_TEXT',
      `${escape} in a text`
    )
  }
  refused(
    t,
    await postBytes(room, Buffer.from('\ufeff{"user":"ann","text":"x"}')),
    400,
    'INVALID_BODY',
    'a byte order mark'
  )
  for (const encoding of ['utf16le'] as const) {
    refused(
      t,
      await postBytes(room, Buffer.from('\ufeff{"user":"ann","text":"x"}', encoding)),
      400,
      'INVALID_BODY',
      encoding
    )
  }
  t.strictSame(await readAll(url, room), [])
})

t.test('no bytes are ever stored as a different text', async () => {
  const room = freshRoom()
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 12 }),
        fc
          .string({ unit: 'binary', minLength: 1, maxLength: 6 })
          .map(text => new TextEncoder().encode(text))
      ),
      async bytes => {
        const { status, text } = await postBytes(room, bodyOf(latin('ann'), Buffer.from(bytes)))
        if (status === 400) return true
        const exact = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
        return status === 201 && JSON.parse(text).text === JSON.parse(`"${exact.decode(bytes)}"`)
      }
    ),
    { numRuns: 300 }
  )
})

t.test('U+FFFD is a character like any other if it was sent as such', async t => {
  const room = freshRoom()
  t.match(await post(url, room, 'ann', 'a\ufffdb'), { status: 201, body: { text: 'a\ufffdb' } })
})

t.test('another charset or coding is refused; UTF-8 is accepted by any of its names', async t => {
  const body = Buffer.from('{"user":"ann","text":"x"}')
  const send = async (type: string, more = ''): Promise<RawAnswer> =>
    await raw(
      `POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${type}\r\n${more}Content-Length: ${body.length}\r\n\r\n${String(body)}`
    )
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json; charset="utf-8"',
    'Application/JSON; charset=utf8',
    'application/json; profile=x'
  ]) {
    t.equal((await send(type)).status, 201, type)
  }
  for (const type of [
    'application/json; charset=iso-8859-1',
    'application/json;charset="windows-1252"',
    'application/json; charset=utf-16',
    'application/json; charset=',
    'application/json; x=y; CHARSET=latin1',
    'application/json; charset=utf-8; charset=latin1',
    'application/json\r\nContent-Type: text/plain'
  ]) {
    refused(t, await send(type), 415, 'UNSUPPORTED_MEDIA_TYPE', type)
  }
  t.equal(
    (await send('application/json', 'Content-Encoding: identity\r\n')).status,
    201,
    'identity'
  )
  for (const coding of ['gzip', 'br', 'deflate', 'zstd', 'GZIP', 'identity, gzip', 'nonsense']) {
    const answer = await send('application/json', `Content-Encoding: ${coding}\r\n`)
    refused(t, answer, 415, 'UNSUPPORTED_MEDIA_TYPE', coding)
    t.match(answer.head, /\r\naccept-encoding: identity/)
  }
  const chunked = (coding: string): Promise<RawAnswer> =>
    raw(
      `POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: ${coding}\r\n\r\n${body.length.toString(16)}\r\n${String(body)}\r\n0\r\n\r\n`
    )
  t.equal((await chunked('chunked')).status, 201, 'chunked')
  refused(t, await chunked('gzip, chunked'), 415, 'UNSUPPORTED_MEDIA_TYPE', 'gzip, chunked')
})

t.test('a duplicate field is refused, and what only looks like one is not', async t => {
  for (const body of [
    '{"user":"ann","user":"bob","text":"x"}',
    '{"user":"ann","text":"x","text":"x"}',
    '{"us\\u0065r":"ann","user":"ann","text":"x"}',
    '{ "user" : "ann" , "text" : "x" , "text" :\n"y" }'
  ]) {
    refused(t, await postBytes('a', Buffer.from(body)), 400, 'INVALID_BODY', body)
  }
  for (const text of ['"user":"x"', '\\": "', '{"a":1,"a":2}', '":"', '\\\\":', ':']) {
    t.match(await post(url, freshRoom(), 'ann', text), { status: 201, body: { text } }, text)
  }
})

t.test('an invalid URL is refused with what to change', async t => {
  for (const line of [
    'GET /rooms/café/messages',
    'GET /events?room=café',
    'GET /rooms/a b/messages'
  ]) {
    refused(t, await raw(`${line} HTTP/1.1\r\nHost: localhost\r\n\r\n`), 400, 'BAD_REQUEST', line)
  }
  t.match(
    (await raw('GET /rooms/café/messages HTTP/1.1\r\nHost: localhost\r\n\r\n')).text,
    /percent-encode/
  )
  refused(t, await raw('nonsense\r\n\r\n'), 400, 'BAD_REQUEST', 'nonsense')
})

const get = (host: string, path = '/health/live', method = 'GET'): Promise<RawAnswer> =>
  raw(`${method} ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)

t.test('a request must name exactly one host, and one that the service accepts', async t => {
  for (const host of [
    'localhost',
    'LocalHost:8080',
    '127.0.0.1',
    `127.0.0.1:${port}`,
    '[::1]:8080',
    'chat.localhost',
    'chat.example.com',
    'CHAT.example.com:443',
    'chat.example.com.',
    'a.inside.example',
    'a.b.inside.example'
  ]) {
    t.equal((await get(`Host: ${host}\r\n`)).status, 200, host)
  }
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    'chat.example.com.evil.example',
    'xchat.example.com',
    'example.com',
    'inside.example',
    '127.0.0.2',
    '10.0.0.1',
    'evillocalhost',
    '[::2]'
  ]) {
    refused(t, await get(`Host: ${host}\r\n`), 421, 'HOST_NOT_ALLOWED', host)
  }
  for (const host of [
    '',
    'a b',
    'a/b',
    'a@localhost',
    'localhost, localhost',
    'localhost:port',
    '[::1',
    '<b>',
    'http://localhost',
    'a%zz',
    '\xff'
  ]) {
    const answer = await get(`Host: ${host}\r\n`)
    refused(t, answer, 400, 'BAD_REQUEST', `Host "${host}"`)
  }
  refused(t, await get(''), 400, 'BAD_REQUEST', 'no Host')
  refused(t, await get('Host: localhost\r\nHost: localhost\r\n'), 400, 'BAD_REQUEST', 'two Hosts')
  refused(
    t,
    await get('Host: localhost\r\nHost: evil.example\r\n'),
    400,
    'BAD_REQUEST',
    'two different Hosts'
  )
  t.equal(
    (await get('Host: localhost\r\n', 'http://localhost/health/live')).status,
    200,
    'the absolute form'
  )
  refused(
    t,
    await get('Host: localhost\r\n', 'http://evil.example/health/live'),
    421,
    'HOST_NOT_ALLOWED',
    'the absolute form for another host'
  )
  t.equal((await raw('GET /health/live HTTP/1.0\r\n\r\n')).status, 200, 'HTTP/1.0 has no Host')
  const body = '{"user":"ann","text":"x"}'
  refused(
    t,
    await raw(
      `POST /rooms/rebound/messages HTTP/1.1\r\nHost: evil.example:${port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    ),
    421,
    'HOST_NOT_ALLOWED',
    'a POST by DNS rebinding'
  )
  t.strictSame(await readAll(url, 'rebound'), [])
})

t.test('an unknown expectation gets 417, and 100-continue is honoured', async t => {
  refused(
    t,
    await get('Host: localhost\r\nExpect: foo\r\n'),
    417,
    'EXPECTATION_FAILED',
    'Expect: foo'
  )
  const body = '{"user":"ann","text":"x"}'
  const answer = await raw(
    `POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  )
  t.equal(answer.status, 100)
  t.match(answer.text, /^HTTP\/1.1 201 Created/)
})

t.test('a request with too many headers is refused, not read in part', async t => {
  // Host and Connection are two more headers.
  const some = (count: number): string =>
    Array.from({ length: count - 2 }, (_, n) => `X-${n}: 1\r\n`).join('')
  for (const count of [999, 1000]) {
    t.equal((await get(`${some(count)}Host: localhost\r\n`)).status, 200, `${count} headers`)
  }
  for (const host of [`${some(1001)}Host: localhost\r\n`, `Host: localhost\r\n${some(1001)}`]) {
    refused(t, await get(host), 431, 'HEADERS_TOO_LARGE', '1001 headers')
  }
})

t.test('the absolute form of a URL means the same on every route, including files', async t => {
  for (const path of ['/health/live', '/chat/icon.svg', '/chat/', '/docs/', '/chat', '/?x=1']) {
    const [plain, absolute] = [
      await get('Host: localhost\r\n', path),
      await get('Host: localhost\r\n', `http://localhost${path}`)
    ]
    t.equal(absolute.status, plain.status, path)
    t.equal(absolute.text.replace('GET http://localhost', 'GET '), plain.text, path)
  }
})

t.test('what the parser takes and HTTP/1.1 does not know is refused', async t => {
  const line = (first: string): Promise<RawAnswer> =>
    raw(`${first}\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  for (const version of ['0.9', '2.0']) {
    refused(t, await line(`GET /health/live HTTP/${version}`), 400, 'BAD_REQUEST', version)
  }
  for (const method of ['GET', 'HEAD', 'POST']) {
    t.equal((await line(`${method} * HTTP/1.1`)).status, 400, `${method} *`)
  }
  t.equal((await line('OPTIONS * HTTP/1.1')).status, 204)
  t.equal((await line('GET /health/live HTTP/1.0')).status, 200)
  const room = freshRoom()
  const body = '{"user":"ann","text":"x"}'
  const post = (version: string, more: string): string =>
    `POST /rooms/${room}/messages HTTP/${version}\r\nHost: localhost\r\nContent-Type: application/json\r\n${more}`
  const second = post('1.1', `Content-Length: ${body.length}\r\n\r\n${body}`)
  const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
  const old = post('1.0', `Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`)
  refused(t, await raw(old + second), 400, 'BAD_REQUEST', 'chunks in HTTP/1.0')
  t.strictSame(await readAll(url, room), [], 'and what seems to come behind them is not done')
})

t.test('a body that would have no effect is refused, and an empty one is not', async t => {
  const room = freshRoom()
  await post(url, room, 'ann', 'hello')
  const send = (method: string, path: string, body: string): Promise<RawAnswer> =>
    raw(
      `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    )
  for (const [method, path] of [
    ['DELETE', `/rooms/${room}/messages/1`],
    ['DELETE', `/rooms/${room}/users/ann`],
    ['PUT', `/rooms/${room}/users/ann`],
    ['DELETE', `/rooms/${room}`]
  ] as const) {
    for (const body of ['{"user":"bob"}', '[]', '1', '"bob"']) {
      refused(t, await send(method, path, body), 400, 'INVALID_BODY', `${method} ${path} ${body}`)
    }
  }
  t.match(await readAll(url, room), [{ seq: 1, text: 'hello' }], 'nothing has happened')
  t.equal((await send('DELETE', `/rooms/${room}/messages/1`, '{}')).status, 200)
})

t.test('a tunnel is refused', async t => {
  const answer = await get('Host: localhost\r\n', 'example.com:443', 'CONNECT')
  refused(t, answer, 405, 'METHOD_NOT_ALLOWED', 'CONNECT')
  t.match(answer.head, '\r\nallow: get, head, post, options')
})

const PATHS: ReadonlyArray<readonly [string, string]> = [
  ['/rooms/a/messages', 'GET, HEAD, POST, OPTIONS'],
  ['/rooms/a/messages/1', 'DELETE, GET, HEAD, PATCH, OPTIONS'],
  ['/rooms/a/signals', 'POST, OPTIONS'],
  ['/rooms/a/users/ann', 'DELETE, PUT, OPTIONS'],
  ['/rooms/a/users/ann/read', 'PUT, OPTIONS'],
  ['/users/ann/rooms', 'GET, HEAD, OPTIONS'],
  ['/users/ann/events', 'GET, HEAD, OPTIONS'],
  ['/cluster/events', 'GET, HEAD, OPTIONS'],
  ['/rooms/a/events', 'GET, HEAD, OPTIONS'],
  ['/events', 'GET, HEAD, OPTIONS'],
  ['/rooms/a/users', 'GET, HEAD, OPTIONS'],
  ['/rooms/a/blocks', 'GET, HEAD, OPTIONS'],
  ['/cluster', 'GET, HEAD, OPTIONS'],
  ['/metrics', 'GET, HEAD, OPTIONS'],
  ['/openapi.json', 'GET, HEAD, OPTIONS'],
  ['/health/live', 'GET, HEAD, OPTIONS'],
  ['/health/ready', 'GET, HEAD, OPTIONS'],
  ['/chat', 'GET, HEAD, OPTIONS'],
  ['/chat/icon.svg', 'GET, HEAD, OPTIONS'],
  ['/', 'GET, HEAD, OPTIONS']
]

t.test(
  'another method gets 405 with the allowed ones in Allow; OPTIONS is answered with the same header',
  async t => {
    for (const [path, allow] of PATHS) {
      for (const method of [
        'POST',
        'PUT',
        'DELETE',
        'PATCH',
        'TRACE',
        'PROPFIND',
        'PURGE',
        'QUERY'
      ].filter(method => !allow.split(', ').includes(method))) {
        const answer = await get('Host: localhost\r\n', path, method)
        refused(t, answer, 405, 'METHOD_NOT_ALLOWED', `${method} ${path}`)
        t.match(answer.head, `\r\nallow: ${allow.toLowerCase()}`)
      }
      const options = await get('Host: localhost\r\n', path, 'OPTIONS')
      t.equal(options.status, 204, `OPTIONS ${path}`)
      t.match(options.head, `\r\nallow: ${allow.toLowerCase()}`)
    }
    refused(
      t,
      await get(
        'Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n',
        '/cluster',
        'POST'
      ),
      405,
      'METHOD_NOT_ALLOWED',
      'with a body of another type'
    )
    t.match(
      await get('Host: localhost\r\n', '*', 'OPTIONS'),
      { status: 204, head: /\r\nallow: .*post/ },
      'OPTIONS *'
    )
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      refused(
        t,
        await get('Host: localhost\r\n', '/nothing', method),
        404,
        'NOT_FOUND',
        `${method} /nothing`
      )
    }
    refused(
      t,
      await get('Host: localhost\r\n', '/chat/nothing.css'),
      404,
      'NOT_FOUND',
      'a file that does not exist'
    )
  }
)

t.test('HEAD is answered like GET, without a body and without opening a stream', async t => {
  const room = freshRoom()
  await post(url, room, 'ann', 'hello')
  for (const path of [
    ...PATHS.filter(([, allow]) => allow.includes('HEAD')).map(([path]) =>
      path.replace('/a/', `/${room}/`)
    ),
    `/events?room=${room}`
  ].filter(path => path !== '/events')) {
    const head = await get('Host: localhost\r\n', path, 'HEAD')
    t.ok(
      head.status === 200 || (path === '/' && head.status === 302),
      `HEAD ${path}: ${head.status}`
    )
    t.equal(head.text, '', path)
    if (path.includes('events')) t.match(head.head, /content-type: text\/event-stream/)
  }
  t.equal((await get('Host: localhost\r\n', '/events', 'HEAD')).status, 400, 'no room')
  t.equal(
    (await get('Host: localhost\r\n', `/rooms/${room}/events?after=x`, 'HEAD')).status,
    400,
    'a bad cursor'
  )
  t.match((await raw('GET /metrics HTTP/1.0\r\n\r\n')).text, /^dialogs_streams 0$/m)
})

t.test('files honour conditions and ranges', async t => {
  const head = (headers: string): Promise<RawAnswer> =>
    get(`Host: localhost\r\n${headers}`, '/chat/icon.svg')
  const etag = /\r\netag: (\S+)/.exec((await head('')).head)?.[1] ?? ''
  t.match(await head(`If-None-Match: ${etag.replace('w/', 'W/')}\r\n`), { status: 304, text: '' })
  t.match(await head('Range: bytes=0-9\r\n'), { status: 206, text: /^.{10}$/s })
  const beyond = await head('Range: bytes=99999999-\r\n')
  refused(t, beyond, 416, 'RANGE_NOT_SATISFIABLE', 'a range beyond the end')
  t.match(beyond.head, /\r\ncontent-range: bytes \*\/\d+/)
  refused(t, await head('If-Match: "other"\r\n'), 412, 'PRECONDITION_FAILED', 'If-Match')
  refused(
    t,
    await head('If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n'),
    412,
    'PRECONDITION_FAILED',
    'If-Unmodified-Since'
  )
  t.equal((await head('Range: nonsense\r\n')).status, 200, 'an invalid range is ignored')
})

t.test('an answer of the API is not cached and not sniffed; files may be cached', async t => {
  const room = freshRoom()
  const body = '{"user":"ann","text":"x"}'
  const answers = [
    [
      'POST',
      await raw(
        `POST /rooms/${room}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      )
    ],
    ...(await Promise.all(
      [
        '/rooms/a/messages',
        '/rooms/a/messages/99',
        '/rooms/a/users',
        '/rooms/a/blocks',
        '/cluster',
        '/metrics',
        '/openapi.json',
        '/health/live',
        '/health/ready',
        '/nothing',
        '/rooms/{/users',
        '/events'
      ].map(async path => [path, await get('Host: localhost\r\n', path)] as const)
    )),
    ['evil host', await get('Host: evil.example\r\n')],
    ['no HTTP', await raw('nonsense\r\n\r\n')],
    ['405', await get('Host: localhost\r\n', '/cluster', 'PUT')],
    ['OPTIONS', await get('Host: localhost\r\n', '/cluster', 'OPTIONS')],
    ...(await Promise.all(
      ['/rooms/a/events', '/events?room=a', '/users/a/events', '/cluster/events'].map(
        async path => [path, await get('Host: localhost\r\n', path, 'HEAD')] as const
      )
    ))
  ] as const
  for (const [what, { head }] of answers) {
    t.match(head, /\r\ncache-control: (?:no-cache, )?no-store[\r,]/, `${what} is not stored`)
    t.match(head, /\r\nx-content-type-options: nosniff/, `${what} is not sniffed`)
  }
  t.match(
    (await get('Host: localhost\r\n', '/chat/icon.svg')).head,
    /\r\ncache-control: no-cache\r\n/
  )
})

t.test("streams accept a polyfill's cursor in the query, and ignore unknown fields", async t => {
  const room = freshRoom()
  for (const text of ['1', '2', '3']) await post(url, room, 'ann', text)
  const first = async (query: string, headers: Record<string, string> = {}): Promise<unknown> => {
    const response = await fetch(`${url}/rooms/${room}/events${query}`, { headers })
    let text = ''
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString()
      if (text.includes('event: live')) break
    }
    return /"seq":(\d)/.exec(text)?.[1]
  }
  t.equal(await first('?_=1&x=y&x=z'), '1', 'unknown fields')
  for (const name of ['lastEventId', 'lastEventID']) t.equal(await first(`?${name}=1`), '2', name)
  t.equal(await first('?lastEventId=&after=2'), '3', 'an empty cursor counts as none')
  t.equal(
    await first('?lastEventId=2&after=1'),
    '3',
    'it wins over what the URL said from the beginning'
  )
  t.equal(await first('?lastEventId=1', { 'last-event-id': '2' }), '3', 'the header wins over it')
  t.match(await request(`${url}/rooms/${room}/events?lastEventId=x`), {
    status: 400,
    body: { code: 'INVALID_CURSOR' }
  })
})

t.test(
  'other routes refuse an unknown field in the query, so that a typing error is noticed; operational routes ignore it',
  async t => {
    for (const path of ['messages', 'messages/1', 'users', 'blocks']) {
      t.match(
        await request(`${url}/rooms/a/${path}?lmit=1`),
        { status: 400, body: { code: 'INVALID_QUERY', message: '"lmit"' } },
        path
      )
    }
    t.match(
      await request(`${url}/rooms/a/messages?x=1`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"user":"ann","text":"x"}'
      }),
      { status: 400, body: { code: 'INVALID_QUERY' } },
      'POST'
    )
    for (const path of ['/health/live?x=1', '/health/ready?x=1', '/cluster?x=1']) {
      t.equal((await request(url + path)).status, 200, path)
    }
  }
)

t.test('none of this caused an unexpected error', async t => {
  t.notMatch(service.errors, /failed unexpectedly/)
})
