// The limits of streams: how many there may be, and how long a client may take nothing.
import net from 'node:net'
import t from 'tap'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)

const metric = async (url: string, name: string): Promise<number> =>
  Number(
    new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1] ?? 0
  )

t.test('exactly the allowed number of streams can be opened', async t => {
  const { url } = await startService(t, { redisNodes: cluster.urls, env: { STREAMS_MAX: '3' } })
  const room = freshRoom()
  const readers = sequence(1, 3).map(() => openSse(t, `${url}/rooms/${room}/events`))
  await Promise.all(readers.map(reader => reader.isLive()))
  for (const path of [`/rooms/${room}/events`, `/events?room=${room}`]) {
    t.match(await request(url + path, { headers: { accept: 'application/json' } }), {
      status: 503,
      body: { code: 'TOO_MANY_STREAMS' }
    })
    // The Accept headers of EventSource, curl, axios, and a client that sends none.
    for (const accept of ['text/event-stream', '*/*', 'application/json, text/plain, */*', '']) {
      const late = openSse(t, url + path, accept === '' ? {} : { accept })
      await until('it was told to come back', () => late.hasEnded)
      t.equal(late.status, 200)
      t.match(late.headers['content-type'], /^text\/event-stream/)
      t.match(late.text, /^retry: [1-5]\d{3}\n\n$/)
    }
  }
  t.match(
    await request(`${url}/rooms/a%7Bb/events`),
    { status: 400, body: { code: 'INVALID_NAME' } },
    'a permanent fault is reported all the same'
  )
  readers[0]?.close()
  await until('there is room for one', async () => (await metric(url, 'dialogs_streams')) === 2)
  await openSse(t, `${url}/rooms/${room}/events`).isLive()
})

t.test(
  'a reader that never reads is cut off after the deadline, with the reason in log and metrics',
  async t => {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: { STALLED_MS_MAX: '1000', SOCKET_BYTES_MAX: '16384' }
    })
    const { url } = service
    const room = freshRoom()
    const stuck = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1' })
    t.teardown(() => stuck.destroy())
    stuck.pause()
    stuck.write(`GET /rooms/${room}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await until('it is open', async () => (await metric(url, 'dialogs_streams')) === 1)
    const text = 'x'.repeat(4000)
    const cut = new AbortController()
    const writing = Promise.all(
      sequence(1, 8).map(async () => {
        while (!cut.signal.aborted) await post(url, room, 'ann', text)
      })
    )
    await until(
      'it was cut off',
      async () => (await metric(url, 'dialogs_streams_ended_total{reason="stalled"}')) === 1,
      60_000
    )
    cut.abort()
    await writing
    t.equal(await metric(url, 'dialogs_streams'), 0)
    t.match(service.errors, /"stalledMs":\d+.*takes nothing/)
  }
)

t.test('a reader that pauses for less than the deadline misses nothing', async t => {
  const service = await startService(t, {
    redisNodes: cluster.urls,
    env: {
      STALLED_MS_MAX: '30000',
      SOCKET_BYTES_MAX: '16384',
      RING_LENGTH_MAX: '100',
      SEGMENT_LENGTH: '256'
    }
  })
  const { url } = service
  const room = freshRoom()
  const reader = openSse(t, `${url}/rooms/${room}/events`)
  await reader.isLive()
  reader.pause()
  const text = 'x'.repeat(4000)
  await Promise.all(
    sequence(1, 8).map(async () => {
      for (let n = 0; n < 400; n++) await post(url, room, 'ann', text)
    })
  )
  const reads = await metric(url, 'dialogs_store_reads_total')
  reader.resume()
  await until('it has everything', () => reader.seqs.length === 3200 || reader.hasEnded, 30_000)
  t.equal(service.errors, '')
  t.ok(
    (await metric(url, 'dialogs_store_reads_total')) > reads,
    'it had fallen behind, further than the ring reaches'
  )
  t.same(reader.seqs, sequence(1, 3200))
})
