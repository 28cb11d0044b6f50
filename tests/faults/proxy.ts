// A real nginx with the configuration that Compose uses: frames arrive when they are sent, quiet
// streams stay open, a POST is never sent twice, and nobody waits for a service that is dead or
// full.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { EventSource } from 'eventsource'
import t, { type Test } from 'tap'
import { freePorts } from '../../src/embedded/ports.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService, type Service } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const START = fileURLToPath(new URL('../../../compose/nginx/start.sh', import.meta.url))

const cluster = await startCluster(t)
// A stop leaves idle connections open for DRAIN_MS, at most a second, because nginx may be sending
// a request on one of them. On a busy machine that takes long.
const services = await startServices({ HEARTBEAT_MS: '500', DRAIN_MS: '1000' })
const { url } = await startNginx(
  t,
  services.map(service => service.url)
)

function startServices(env: Readonly<Record<string, string>>): Promise<Service[]> {
  return Promise.all([1, 2].map(() => startService(t, { redisNodes: cluster.urls, env })))
}

type Nginx = { readonly url: string; readonly process: ChildProcess }

async function startNginx(t: Test, targets: readonly string[]): Promise<Nginx> {
  const dir = temporaryDir(t)
  const [port] = await freePorts(1)
  const nginx = spawn('sh', [START, dir], {
    env: {
      PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`,
      LISTEN: `127.0.0.1:${port}`,
      SERVICES: targets.map(target => new URL(target).host).join(' ')
    },
    stdio: 'ignore'
  })
  t.teardown(async () => {
    if (nginx.exitCode !== null) return
    const exited = once(nginx, 'exit')
    nginx.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  const answers = (): Promise<boolean> =>
    fetch(`${url}/health/live`).then(
      ({ ok }) => ok,
      () => false
    )
  await until('nginx answers', answers)
  return { url, process: nginx }
}

t.test('frames are not held back', async t => {
  const room = freshRoom()
  const stream = openSse(t, `${url}/rooms/${room}/events`)
  await stream.isLive()
  t.notOk(stream.headers['content-encoding'], 'nor compressed')
  const delays: number[] = []
  for (const n of sequence(1, 20)) {
    const sent = performance.now()
    await post(url, room, 'ann', `text ${n}`)
    await stream.sees('the message', () => stream.seqs.length === n)
    delays.push(performance.now() - sent)
  }
  // A proxy that buffers would hold back 20 short frames until the stream ends. A busy machine may
  // delay a few of them.
  const slowest = Math.ceil(Math.max(...delays))
  t.ok(delays.filter(delay => delay < 2000).length >= 17, `the slowest took ${slowest} ms`)
})

// To choose a location, nginx decodes the path, resolves its dots and merges its slashes. It must
// pass the path on as it came.
const ODD_NAMES = [
  ...['a/b', '/a', 'a/', 'a//b', 'a/b/c', 'x/events', 'events', 'x/blocks', 'messages'],
  ...['50%', '%2F', '%252e%252e', 'a%00', '...', '.a', 'a.b', 'a..b', 'a/...', '~', "it's"],
  ...['a?b', 'a#b', 'a;b=c', 'a b', 'a+b', 'a&b=c', 'a\\b', 'a:b@c', 'ü/ß', '你/好']
]

t.test('names with slashes, percent signs and dots arrive as they are', async t => {
  const tag = freshRoom()
  // Both, so that a name that is cut off or decoded twice cannot equal another one in the list.
  for (const room of ODD_NAMES.flatMap(name => [`${name}${tag}`, `${tag}${name}`])) {
    const path = `/rooms/${encodeURIComponent(room)}`
    const posted = await post(url, room, 'ann', 'hello')
    t.match(posted, { status: 201, body: { room, seq: 1 } }, room)
    t.match(await readAll(url, room), { length: 1, 0: { text: 'hello' } })
    t.match((await request(`${url}${path}/users`)).body, { users: [{ user: 'ann', messages: 1 }] })
    t.equal((await fetch(`${url}${path}/blocks`)).status, 404, 'only the service answers these')
    for (const stream of [`${path}/events`, `/events?room=${encodeURIComponent(room)}`]) {
      const opened = openSse(t, url + stream)
      await opened.isLive()
      t.same(opened.seqs, [1], stream)
      opened.close()
    }
  }
})

t.test('pages are compressed for a client that accepts gzip, streams are not', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 30)
  const gzip = { 'accept-encoding': 'gzip' }
  const stream = openSse(t, `${url}/rooms/${room}/events`, gzip)
  await stream.isLive()
  t.notOk(stream.headers['content-encoding'])
  t.same(stream.seqs, sequence(1, 30))
  const page = await request(`${url}/rooms/${room}/messages`, { headers: gzip })
  t.equal(page.headers.get('content-encoding'), 'gzip')
})

t.test('heartbeats pass, on streams of one room and of several', async t => {
  const [one, two, three] = [freshRoom(), freshRoom(), freshRoom()]
  for (const path of [`/rooms/${one}/events`, `/events?room=${two}&room=${three}`]) {
    const stream = openSse(t, url + path)
    await until('three heartbeats', () => stream.pings.length >= 3)
  }
})

t.test(
  'an EventSource misses nothing while each service in turn is stopped and killed',
  async t => {
    const room = freshRoom()
    const seqs: number[] = []
    const source = new EventSource(`${url}/rooms/${room}/events`)
    t.teardown(() => {
      source.close()
    })
    source.onmessage = ({ data }) => {
      seqs.push(JSON.parse(data).seq)
    }
    let sent = 0
    const ends = services.flatMap(
      service =>
        [
          [service, 'SIGTERM'],
          [service, 'SIGKILL']
        ] as const
    )
    for (const [service, signal] of ends) {
      await postMany(url, room, 'ann', 10)
      await service.end(signal)
      await postMany(url, room, 'ann', 10)
      sent += 20
      await until('it has everything so far', () => seqs.length >= sent, 20_000)
      await service.start()
    }
    t.same(seqs, sequence(1, sent))
    t.equal((await readAll(url, room)).length, sent)
  }
)

t.test('no POST fails while each service in turn is stopped and started', async t => {
  const room = freshRoom()
  const failures: string[] = []
  let sent = 0
  const done = new AbortController()
  const writing = Promise.all(
    sequence(1, 20).map(async writer => {
      while (!done.signal.aborted) {
        const text = `text ${++sent} of ${writer}`
        const status = await post(url, room, 'ann', text).then(({ status }) => status, String)
        if (status !== 201) failures.push(`${status}: ${text}`)
      }
    })
  )
  for (let round = 0; round < 3; round++) {
    for (const service of services) await service.restart()
  }
  done.abort()
  await writing
  t.same(failures, [])
  t.ok(sent > 300, `${sent} were sent`)
  const texts = (await readAll(url, room)).map(({ text }) => text)
  t.equal(texts.length, sent)
  t.equal(new Set(texts).size, sent)
})

t.test('a stream of 100 rooms with the longest names is opened and resumed', async t => {
  const rooms = sequence(1, 100).map(n => {
    const name = `${freshRoom()}-${n}-`
    return name + '😀'.repeat(64 - name.length)
  })
  const query = rooms.map(room => `room=${encodeURIComponent(room)}`).join('&')
  const cursors = rooms.map(() => '123456789012345-1795417854046').join(',')
  const stream = openSse(t, `${url}/events?${query}`, { 'last-event-id': cursors })
  // The cursors are beyond every head, so every room is reset before it is live.
  const live = (): number => stream.events.filter(({ event }) => event === 'live').length
  await until('all rooms are live', () => live() === 100)
})

t.test('nginx hides what only operators need', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 1)
  const statusOf = async (path: string): Promise<number> => {
    const response = await fetch(path)
    await response.body?.cancel()
    return response.status
  }
  for (const path of [
    '/metrics',
    '/cluster',
    '/cluster/',
    '/cluster/events',
    '/cluster/events?room=a',
    `/rooms/${room}/blocks`
  ]) {
    t.equal(await statusOf(`${services[0]?.url}${path}`), 200, `${path} of the service`)
    t.equal(await statusOf(url + path), 404, `${path} through nginx`)
  }
  t.equal((await fetch(`${url}/rooms/${room}/messages`)).status, 200)
})

t.test('services that accept no more streams still accept POSTs', async t => {
  const room = freshRoom()
  const full = await startServices({ STREAMS_MAX: '3' })
  const through = (
    await startNginx(
      t,
      full.map(service => service.url)
    )
  ).url
  const readers = sequence(1, 6).map(() => openSse(t, `${through}/rooms/${room}/events`))
  await Promise.all(readers.map(reader => reader.isLive()))
  const statuses: number[] = []
  for (const n of sequence(1, 50)) {
    // A client that asks for JSON gets a 503 after nginx has asked both services.
    const headers = { accept: 'application/json' }
    const refused = await fetch(`${through}/rooms/${room}/events`, { headers })
    t.equal(refused.status, 503)
    await refused.text()
    statuses.push((await post(through, room, 'ann', `text ${n}`)).status)
  }
  t.same(
    statuses.filter(status => status !== 201),
    []
  )
  await until('the readers have all', () => readers.every(reader => reader.seqs.length === 50))
})

t.test('a vanished service delays one request every five seconds, not every third one', async t => {
  const gone = await startMute(t)
  const through = (await startNginx(t, [gone, ...services.map(service => service.url)])).url
  const room = freshRoom()
  const slow: number[] = []
  const begun = performance.now()
  let posted = 0
  // nginx remembers a failure for 5 s and then tries again.
  while (performance.now() - begun < 12_000) {
    const sent = performance.now()
    t.equal((await post(through, room, 'ann', `text ${++posted}`)).status, 201)
    if (performance.now() - sent > 900) slow.push(posted)
    await sleep(20)
  }
  const allowed = 1 + Math.ceil((performance.now() - begun) / 5000)
  t.ok(slow.length > 0, 'it was tried')
  t.ok(slow.length <= allowed, `${slow.length} of ${posted} requests waited, ${allowed} may`)
})

t.test(
  'while no service answers, streams are told to come back, and other requests get 502',
  async t => {
    const service = http.createServer((_request, response) => response.end())
    await once(service.listen(0, '127.0.0.1'), 'listening')
    // A string only for a UNIX socket.
    const { port } = service.address() as AddressInfo
    const { url: through } = await startNginx(t, [`http://127.0.0.1:${port}`])
    service.closeAllConnections()
    service.close()
    const delays = new Set<string>()
    for (const path of ['/rooms/a/events', '/events?room=a', '/users/ann/events']) {
      for (let tries = 0; tries < 8; tries++) {
        const accept = 'text/event-stream'
        const answer = await fetch(through + path, { headers: { accept } })
        t.equal(answer.status, 200, path)
        t.equal(answer.headers.get('content-type'), accept)
        const text = await answer.text()
        t.match(text, /^retry: [1-4]000\n\n$/)
        delays.add(text)
      }
      const headers = { accept: 'application/json' }
      t.equal((await fetch(through + path, { headers })).status, 502, `${path} as JSON`)
    }
    t.ok(delays.size > 1, 'not all at once')
    t.equal((await fetch(`${through}/rooms/a/messages`)).status, 502)
  }
)

t.test('nginx stops soon although streams are open', async t => {
  const { url: through, process: nginx } = await startNginx(
    t,
    services.map(({ url }) => url)
  )
  const reader = openSse(t, `${through}/rooms/${freshRoom()}/events`)
  await reader.isLive()
  const begun = performance.now()
  const exited = once(nginx, 'exit')
  nginx.kill('SIGQUIT')
  t.same(await exited, [0, null])
  t.ok(performance.now() - begun < 8000, `${Math.round(performance.now() - begun)} ms`)
})

/**
 * Starts a listener that neither accepts nor refuses connections, like a machine that is gone: the
 * process is frozen, and its queue of connections is full.
 */
async function startMute(t: Test): Promise<string> {
  const script = `const server = require('net').createServer()
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(String(line))
  child.kill('SIGSTOP')
  const sockets = sequence(1, 4).map(() => net.connect(port, '127.0.0.1'))
  // The last connections time out at some point, which does not matter.
  for (const socket of sockets) socket.on('error', () => undefined)
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const queued = (): number => sockets.filter(({ readyState }) => readyState === 'open').length
  await until('its queue is full', () => queued() >= 2)
  return `http://127.0.0.1:${port}`
}
