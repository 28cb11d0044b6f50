// SIGTERM: no new requests are accepted, those in progress are finished, streams end one by one
// with a time after which to come back, and nothing is missed.
import { existsSync, readdirSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { freshRoom, post, postMany, readAll, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)

t.test(
  'streams end spread over the drain time, each with its own retry, and resume at another process',
  async t => {
    const room = freshRoom()
    const [service, other] = await Promise.all([
      startService(t, { redisNodes: cluster.urls, env: { DRAIN_MS: '1500' } }),
      startService(t, { redisNodes: cluster.urls })
    ])
    await postMany(service.url, room, 'ann', 5)
    const readers = sequence(1, 30).map(() => openSse(t, `${service.url}/rooms/${room}/events`))
    await Promise.all(readers.map(reader => reader.isLive()))
    const endedAt: number[] = []
    const begun = performance.now()
    const stopped = service.stop()
    await Promise.all(
      readers.map(async reader => {
        await until('it has ended', () => reader.hasEnded)
        endedAt.push(performance.now() - begun)
      })
    )
    t.equal(await stopped, 0, 'exit status 0')
    const retries = readers.map(reader => /retry: (\d+)\n\n$/.exec(reader.text)?.[1])
    t.ok(retries.every(retry => retry !== undefined && Number(retry) <= 1500))
    t.ok(new Set(retries).size > 15, 'they come back at different times')
    t.ok(Math.max(...endedAt) - Math.min(...endedAt) > 500, 'they were not all ended at once')
    await postMany(other.url, room, 'bob', 5)
    for (const reader of readers) {
      const resumed = openSse(t, `${other.url}/rooms/${room}/events`, {
        'last-event-id': reader.lastId
      })
      await resumed.isLive()
      t.same([...reader.seqs, ...resumed.seqs], sequence(1, 10))
      resumed.close()
    }
  }
)

t.test(
  'POSTs in progress are finished, and so is what arrives on an open connection, which is then closed',
  async t => {
    const room = freshRoom()
    const service = await startService(t, { redisNodes: cluster.urls, env: { DRAIN_MS: '3000' } })
    // Each stream ends at a moment of its own, so a single one could be the first.
    const readers = sequence(1, 20).map(() => openSse(t, `${service.url}/rooms/${room}/events`))
    await Promise.all(readers.map(reader => reader.isLive()))
    const kept = net.connect(Number(new URL(service.url).port), '127.0.0.1')
    t.teardown(() => kept.destroy())
    let answer = ''
    kept.on('data', chunk => {
      answer += String(chunk)
    })
    const under = sequence(1, 50).map(n => post(service.url, room, 'ann', `text ${n}`))
    await until('some are stored', async () => readers.some(reader => reader.seqs.length > 0))
    const stopped = service.stop()
    const answers = await Promise.all(under)
    t.ok(answers.every(({ status }) => status === 201))
    // The signal has been sent, but only the process knows when it handles it. After that it no
    // longer listens.
    await until('it is stopping', () =>
      fetch(`${service.url}/health/ready`, { headers: { connection: 'close' } }).then(
        () => false,
        () => true
      )
    )
    const body = '{"user":"ann","text":"late"}'
    kept.write(
      `POST /rooms/${room}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    )
    await until('the late POST is answered', () => answer !== '' || kept.destroyed)
    t.match(answer, /^HTTP\/1\.1 201 [^]*connection: close[^]*"text":"late"/i)
    await until('the connection is closed', () => kept.destroyed)
    t.equal(await stopped, 0)
    const again = await startService(t, { redisNodes: cluster.urls })
    t.equal(
      (await readAll(again.url, room)).length,
      51,
      'exactly the messages answered 201 are stored'
    )
  }
)

t.test('stopping during the start leaves nothing behind', async t => {
  const dataDir = temporaryDir(t)
  const first = new Service({ env: { DATA_DIR: dataDir } })
  t.teardown(() => first.kill())
  const starting = t.rejects(first.start(), 'it does not become ready')
  await until('it is creating its cluster', () => first.output.includes('Creating a Redis Cluster'))
  t.equal(await first.stop(), 0)
  await starting
  t.equal(first.errors, '')
  t.strictSame(
    readdirSync(dataDir).filter(name => existsSync(join(dataDir, name, 'redis.pid'))),
    [],
    'no node is left'
  )
  const second = await startService(t, { env: { DATA_DIR: dataDir } })
  t.equal((await post(second.url, 'room', 'ann', 'hello')).status, 201)
  t.equal(await second.stop(), 0)
})
