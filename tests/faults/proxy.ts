// Through a real nginx with the configuration that Compose uses: frames arrive when they are sent, quiet streams stay open, a
// POST is never sent twice, and a service that is dead or full is passed by.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { EventSource } from 'eventsource'
import t, { type Test } from 'tap'
import { freePorts } from '../../src/embedded/ports.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const START = fileURLToPath(new URL('../../../compose/nginx/start.sh', import.meta.url))

const cluster = await startCluster(t)
const services = await Promise.all([1, 2].map(() => startService(t, { redisNodes: cluster.urls, env: { HEARTBEAT_MS: '500', DRAIN_MS: '300' } })))
const { url } = await startNginx(t, services.map(service => service.url))

async function startNginx (t: Test, targets: readonly string[]): Promise<{ url: string, nginx: ChildProcess }> {
  const dir = temporaryDir(t)
  const [port] = await freePorts(1)
  const services = targets.map(target => new URL(target).host).join(' ')
  const nginx = spawn('sh', [START, dir], {
    env: { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`, LISTEN: `127.0.0.1:${port}`, SERVICES: services },
    stdio: 'ignore'
  })
  t.teardown(async () => {
    if (nginx.exitCode !== null) return
    const exited = once(nginx, 'exit')
    nginx.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  await until('nginx answers', async () => await fetch(`${url}/health/live`).then(({ ok }) => ok, () => false))
  return { url, nginx }
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
  // A proxy that buffers holds 20 short frames until the end of the stream; a machine that stands still holds up one or the other.
  t.ok(delays.filter(delay => delay < 2000).length >= 17, `each within ${Math.ceil(Math.max(...delays))} ms`)
})

t.test('a client that accepts gzip gets its stream as it is, and its pages compressed', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 30)
  const gzip = { 'accept-encoding': 'gzip' }
  const stream = openSse(t, `${url}/rooms/${room}/events`, gzip)
  await stream.isLive()
  t.notOk(stream.headers['content-encoding'])
  t.same(stream.seqs, sequence(1, 30))
  t.equal((await request(`${url}/rooms/${room}/messages`, { headers: gzip })).headers.get('content-encoding'), 'gzip')
})

t.test('heartbeats pass, also on the stream of several rooms', async t => {
  for (const path of [`/rooms/${freshRoom()}/events`, `/events?room=${freshRoom()}&room=${freshRoom()}`]) {
    const stream = openSse(t, url + path)
    await until('three heartbeats', () => stream.pings.length >= 3)
  }
})

t.test('an EventSource behind nginx follows a room through the end of each service in turn', async t => {
  const room = freshRoom()
  const seqs: number[] = []
  const source = new EventSource(`${url}/rooms/${room}/events`)
  t.teardown(() => { source.close() })
  source.onmessage = ({ data }) => { seqs.push(JSON.parse(data).seq) }
  let sent = 0
  for (const [service, signal] of services.flatMap(service => [[service, 'SIGTERM'], [service, 'SIGKILL']] as const)) {
    await postMany(url, room, 'ann', 10)
    await service.end(signal)
    await postMany(url, room, 'ann', 10)
    sent += 20
    await until('it has everything so far', () => seqs.length >= sent, 20_000)
    await service.start()
  }
  t.same(seqs, sequence(1, sent))
  t.equal((await readAll(url, room)).length, sent)
})

t.test('no POST fails while each service in turn is stopped and started', async t => {
  const room = freshRoom()
  const failures: string[] = []
  let sent = 0
  const done = new AbortController()
  const writing = Promise.all(sequence(1, 20).map(async writer => {
    while (!done.signal.aborted) {
      const text = `text ${++sent} of ${writer}`
      const status = await post(url, room, 'ann', text).then(({ status }) => status, String)
      if (status !== 201) failures.push(`${status}: ${text}`)
    }
  }))
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

t.test('a stream of as many rooms as it may have, with the longest names, is opened and resumed', async t => {
  const rooms = sequence(1, 100).map(n => `${freshRoom()}-${n}-`).map(name => name + '😀'.repeat(64 - name.length))
  const cursors = rooms.map(() => '123456789012345-1795417854046').join(',')
  const stream = openSse(t, `${url}/events?${rooms.map(room => `room=${encodeURIComponent(room)}`).join('&')}`, { 'last-event-id': cursors })
  // Beyond every head, and so all are reset.
  await until('all are live', () => stream.events.filter(({ event }) => event === 'live').length === 100)
})

t.test('what is for those who run the service is not for everybody', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 1)
  for (const path of ['/metrics', '/cluster', `/rooms/${room}/blocks`]) {
    t.equal((await fetch(`${services[0]?.url}${path}`)).status, 200, `${path} at the service itself`)
    t.equal((await fetch(url + path)).status, 404, `${path} through nginx`)
  }
  t.equal((await fetch(`${url}/rooms/${room}/messages`)).status, 200)
})

t.test('services that have no room for another stream go on taking POSTs', async t => {
  const room = freshRoom()
  const full = await Promise.all([1, 2].map(() => startService(t, { redisNodes: cluster.urls, env: { STREAMS_MAX: '3' } })))
  const through = (await startNginx(t, full.map(service => service.url))).url
  const readers = sequence(1, 6).map(() => openSse(t, `${through}/rooms/${room}/events`))
  await Promise.all(readers.map(reader => reader.isLive()))
  t.pass('three streams found room at each: one that was turned away went to the other')
  const statuses: number[] = []
  for (const n of sequence(1, 50)) {
    // A client that asks for JSON is told 503, after nginx has asked both.
    const refused = await fetch(`${through}/rooms/${room}/events`, { headers: { accept: 'application/json' } })
    t.equal(refused.status, 503)
    await refused.text()
    statuses.push((await post(through, room, 'ann', `text ${n}`)).status)
  }
  t.same(statuses.filter(status => status !== 201), [])
  await until('the readers have all of it', () => readers.every(reader => reader.seqs.length === 50))
})

t.test('a service that has vanished makes one request in five seconds wait, and not every third', async t => {
  const gone = await startMute(t)
  const through = (await startNginx(t, [gone, ...services.map(service => service.url)])).url
  const room = freshRoom()
  const slow: number[] = []
  const begun = performance.now()
  let posted = 0
  // Longer than nginx remembers a failure: it tries again.
  while (performance.now() - begun < 12_000) {
    const sent = performance.now()
    t.equal((await post(through, room, 'ann', `text ${++posted}`)).status, 201)
    if (performance.now() - sent > 900) slow.push(posted)
    await sleep(20)
  }
  const allowed = 1 + Math.ceil((performance.now() - begun) / 5000)
  t.ok(slow.length > 0, 'it was tried')
  t.ok(slow.length <= allowed, `${slow.length} of ${posted} waited, ${allowed} may`)
})

t.test('nginx ends soon although streams are open', async t => {
  const { url: through, nginx } = await startNginx(t, services.map(service => service.url))
  const reader = openSse(t, `${through}/rooms/${freshRoom()}/events`)
  await reader.isLive()
  const begun = performance.now()
  const exited = once(nginx, 'exit')
  nginx.kill('SIGQUIT')
  t.same(await exited, [0, null])
  t.ok(performance.now() - begun < 8000, `${Math.round(performance.now() - begun)} ms`)
})

/** An address that takes no connection and refuses none, as a machine that is gone: a listener that is frozen and whose queue is full. */
async function startMute (t: Test): Promise<string> {
  const child = spawn(process.execPath, ['-e', "const server = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port))"], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data') as [Buffer]
  const port = Number(String(line))
  child.kill('SIGSTOP')
  const queued = sequence(1, 4).map(() => net.connect(port, '127.0.0.1').on('error', () => undefined))
  t.teardown(() => { for (const socket of queued) socket.destroy() })
  await until('its queue is full', () => queued.filter(socket => socket.readyState === 'open').length >= 2)
  return `http://127.0.0.1:${port}`
}
