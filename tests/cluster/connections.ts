// Difficult connections: incomplete requests, clients that take nothing, streams behind another
// request; and the longest valid requests.
import net from 'node:net'
import t, { type Test } from 'tap'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)

/** A connection that sends this and nothing more. */
function connect(t: Test, url: string, text: string): { socket: net.Socket; answer: () => string } {
  const socket = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1' })
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  let answer = ''
  socket.on('data', chunk => {
    answer += String(chunk)
  })
  socket.write(text)
  return { socket, answer: () => answer }
}

const HALF_A_POST =
  'POST /rooms/room/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"user":'

t.test(
  'a stop waits neither for a client that does not read nor for an incomplete request',
  async t => {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: { STORE_DEADLINE_MS: '500', SOCKET_BYTES_MAX: '16384' }
    })
    const room = freshRoom()
    const { socket } = connect(
      t,
      service.url,
      `GET /rooms/${room}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`
    )
    socket.pause()
    const half = connect(t, service.url, HALF_A_POST)
    // The parser has it once a later request is answered.
    await request(`${service.url}/health/live`)
    const begun = performance.now()
    t.equal(await service.stop(), 0)
    const ms = performance.now() - begun
    t.ok(ms < 6000, `${Math.round(ms)} ms`)
    t.equal(half.answer(), '')
  }
)

t.test('an incomplete request is cut off, and a stream is not', async t => {
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: { REQUEST_TIMEOUT_MS: '500' }
  })
  const stream = openSse(t, `${url}/rooms/${freshRoom()}/events`)
  await stream.isLive()
  const half = connect(t, url, HALF_A_POST)
  await until('it is cut off', () => half.socket.destroyed)
  t.match(
    half.answer(),
    /^HTTP\/1\.1 408 Request Timeout\r\n[^]*\{"statusCode":408,"code":"REQUEST_TIMEOUT",/
  )
  t.notOk(stream.hasEnded)
})

t.test(
  'a head that does not arrive in time is cut off without an answer: an EventSource never comes back after a 408',
  async t => {
    const { url } = await startService(t, {
      redisNodes: cluster.urls,
      env: { REQUEST_TIMEOUT_MS: '500' }
    })
    const path = `/rooms/${freshRoom()}/events`
    const silent = connect(t, url, '')
    const half = connect(t, url, `GET ${path} HTTP/1.1\r\nHost: local`)
    const behind = connect(
      t,
      url,
      `GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET ${path} HTTP/1.1\r\n`
    )
    for (const { socket } of [silent, half, behind]) {
      await until('it is cut off', () => socket.destroyed)
    }
    t.equal(silent.answer(), '')
    t.equal(half.answer(), '')
    t.match(behind.answer(), /^HTTP\/1\.1 200 /, 'a request before it has its answer')
    t.notMatch(behind.answer(), / 408 /)
  }
)

t.test('bytes that are not a request, and too many headers, are refused with a code', async t => {
  const { url } = await startService(t, { redisNodes: cluster.urls })
  const get = (bytes: number): string =>
    `GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(bytes)}\r\n\r\n`
  for (const [text, answered] of [
    ['hello\r\n\r\n', /^HTTP\/1\.1 400 Bad Request\r\n[^]*"code":"BAD_REQUEST"/],
    [get(120 * 1024), /^HTTP\/1\.1 200 /],
    [
      get(128 * 1024),
      /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n[^]*"code":"HEADERS_TOO_LARGE"/
    ]
  ] as const) {
    const { answer } = connect(t, url, text)
    await until('it is answered', () => answered.test(answer()))
  }
  const stream = connect(
    t,
    url,
    `GET /rooms/${freshRoom()}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`
  )
  await until('it is live', () => stream.answer().includes('event: live'))
  const before = stream.answer()
  stream.socket.write('garbage\r\n\r\n')
  await until('it is cut off', () => stream.socket.destroyed)
  t.equal(stream.answer(), before, 'nothing is written into a stream')
})

t.test(
  'a stream behind another request on the same connection waits for that answer; a request behind a stream is not answered',
  async t => {
    const { url } = await startService(t, { redisNodes: cluster.urls })
    const room = freshRoom()
    await post(url, room, 'ann', 'hello')
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
    for (const path of [`/rooms/${room}/events`, `/events?room=${room}`]) {
      const { answer, socket } = connect(
        t,
        url,
        get(`/rooms/${room}/messages`) + get(path) + get('/health/live').repeat(5)
      )
      await until('both are answered', () => answer().includes('event: live'))
      t.match(
        answer(),
        /^HTTP\/1\.1 200 [^]*"messages":\[\{[^]*"text":"hello"[^]*HTTP\/1\.1 200 [^]*retry: 1000\n\n[^]*id: 1-[^]*"text":"hello"[^]*event: live/
      )
      socket.write(get('/health/live').repeat(5))
      await post(url, room, 'ann', 'and on')
      await until('the stream goes on', () => answer().includes('and on'))
      t.notMatch(answer(), /"status":"ok"/)
    }
  }
)

t.test(
  'a stream of the maximum number of rooms with the longest names opens and can be resumed',
  async t => {
    const { url } = await startService(t, { redisNodes: cluster.urls })
    // Characters that take six and twelve bytes in a URL.
    for (const character of ['я', '😀']) {
      const rooms = sequence(1, 100)
        .map(n => `${freshRoom()}-${n}-`)
        .map(name => name + character.repeat(64 - name.length))
      const all = `${url}/events?${rooms.map(room => `room=${encodeURIComponent(room)}`).join('&')}`
      await Promise.all(
        rooms.map(async room => {
          await post(url, room, 'ann', 'one')
        })
      )
      const stream = openSse(t, all)
      await until('it has all', () => stream.seqs.length === 100)
      await until(
        'all are live',
        () => stream.events.filter(({ event }) => event === 'live').length === 100
      )
      stream.close()
      await Promise.all(
        rooms.map(async room => {
          await post(url, room, 'ann', 'two')
        })
      )
      const resumed = openSse(t, all, { 'last-event-id': stream.lastId })
      await until('it has the rest', () => resumed.seqs.length === 100)
      t.ok(resumed.seqs.every(seq => seq === 2))
    }
  }
)

t.test(
  'what is no request is never answered in place of a request before it, nor in a stream',
  async t => {
    const { url } = await startService(t, { redisNodes: cluster.urls })
    const room = freshRoom()
    const head = (line: string, ...headers: string[]): string =>
      [line, 'Host: localhost', ...headers, '', ''].join('\r\n')
    const body = JSON.stringify({ user: 'ann', text: 'hello' })
    const write =
      head(
        `POST /rooms/${room}/messages HTTP/1.1`,
        'Content-Type: application/json',
        `Content-Length: ${body.length}`
      ) + body
    const read = head(`GET /rooms/${room}/messages HTTP/1.1`)
    const half = head('GET /health/live HTTP/1.1', 'Content-Length: 10') + 'half'
    const tunnel = head('CONNECT example.org:80 HTTP/1.1')
    const garbage = 'garbage\0\r\n\r\n'
    for (const [what, text, statuses] of [
      ['a POST before garbage', write + garbage, ['201']],
      ['two before garbage', write + read + garbage, ['201', '200']],
      ['a request before an incomplete one that never ends', write + HALF_A_POST, ['201']],
      ['a request that was answered before its body ended', half, ['200']],
      ['a request before a tunnel', read + tunnel, []]
    ] as const) {
      const { socket, answer } = connect(t, url, text)
      if (!text.endsWith(garbage)) socket.end()
      await until(`${what}: it is over`, () => socket.destroyed)
      t.strictSame(
        [...answer().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
        statuses,
        what
      )
    }
    const stream = connect(t, url, head(`GET /rooms/${room}/events HTTP/1.1`))
    await until('it is live', () => stream.answer().includes('event: live'))
    const before = stream.answer()
    stream.socket.write(tunnel)
    await until('it is cut off', () => stream.socket.destroyed)
    t.equal(stream.answer(), before, 'nothing is written into a stream')
  }
)

t.test('a pipeline that is too long is answered up to its limit, however long it is', async t => {
  const get = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'
  for (const max of [0, 1, 10]) {
    const { url } = await startService(t, {
      redisNodes: cluster.urls,
      env: { PIPELINE_MAX: String(max) }
    })
    for (const [length, refused] of [
      [max + 1, 0],
      [max + 2, 1],
      [max + 3, 1],
      [max + 30, 1],
      [1000, 1]
    ] as const) {
      const { socket, answer } = connect(t, url, get.repeat(length))
      const count = (status: number): number => answer().split(`HTTP/1.1 ${status} `).length - 1
      await until(
        `${length} with PIPELINE_MAX=${max}: as many are answered as should be`,
        () => count(200) + count(503) === max + 1 + refused
      )
      t.strictSame([count(200), count(503)], [max + 1, refused])
      if (refused > 0) await until('it is closed', () => socket.destroyed)
      else socket.destroy()
    }
  }
})

t.test('a client that closes its sending side after the request gets the answer', async t => {
  const { url } = await startService(t, { redisNodes: cluster.urls })
  const room = freshRoom()
  const body = JSON.stringify({ user: 'ann', text: 'hello' })
  const half = (text: string): ReturnType<typeof connect> => {
    const connection = connect(t, url, text)
    connection.socket.end()
    return connection
  }
  const post = half(
    `POST /rooms/${room}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  )
  await until('the POST is over', () => post.socket.destroyed)
  t.match(post.answer(), /^HTTP\/1\.1 201 [^]*"seq":1,"user":"ann","text":"hello"/)
  const page = half(`GET /rooms/${room}/messages HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await until('the page is over', () => page.socket.destroyed)
  t.match(page.answer(), /^HTTP\/1\.1 200 [^]*"text":"hello"/)
  const incomplete = half(HALF_A_POST)
  await until('the incomplete request is over', () => incomplete.socket.destroyed)
  t.match(incomplete.answer(), /^HTTP\/1\.1 400 /)
})

t.test('the stream of a reader that closes its connection ends at once', async t => {
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: { HEARTBEAT_MS: '60000' }
  })
  const open = async (): Promise<number> => {
    const text = await (await fetch(`${url}/metrics`)).text()
    return Number(/^dialogs_streams (\d+)$/m.exec(text)?.[1])
  }
  const { socket, answer } = connect(
    t,
    url,
    `GET /rooms/${freshRoom()}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`
  )
  await until('it is live', () => answer().includes('event: live'))
  t.equal(await open(), 1)
  socket.end()
  await until('it has ended', async () => (await open()) === 0, 5000)
  t.equal(await open(), 0)
})
