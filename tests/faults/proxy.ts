// Through a real nginx with the configuration that Compose uses: frames arrive when they are sent, quiet streams stay open, a POST is never
// sent twice, and a service that dies is replaced by the other one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { EventSource } from 'eventsource'
import t from 'tap'
import { freePorts } from '../../src/embedded/ports.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const START = fileURLToPath(new URL('../../../compose/nginx/start.sh', import.meta.url))

const cluster = await startCluster(t)
const services = await Promise.all([1, 2].map(() => startService(t, { redisNodes: cluster.urls, env: { HEARTBEAT_MS: '500', DRAIN_MS: '300' } })))
const url = await startNginx(services.map(service => service.url))

async function startNginx (targets: readonly string[]): Promise<string> {
  const dir = temporaryDir(t)
  const [port] = await freePorts(1)
  const services = targets.map(target => new URL(target).host).join(' ')
  const nginx = spawn('sh', [START, dir], {
    env: { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`, LISTEN: `127.0.0.1:${port}`, SERVICES: services },
    stdio: 'ignore'
  })
  t.teardown(async () => {
    const exited = once(nginx, 'exit')
    nginx.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  await until('nginx answers', async () => await fetch(`${url}/health/live`).then(({ ok }) => ok, () => false))
  return url
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
