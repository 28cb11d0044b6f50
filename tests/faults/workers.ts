// Several processes on one port (WORKERS), as real processes: how connections are shared, summed
// metrics, deaths, and the stop.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import http from 'node:http'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import t from 'tap'
import { startOf } from '../../src/embedded/processes.js'
import { freshRoom, post, readAll, request, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const WORKERS = 3
const cluster = await startCluster(t)
const env = { WORKERS: String(WORKERS) }

/** The process ids of a parent's workers. */
function workersOf(parent: number | undefined): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      try {
        return (
          readFileSync(`/proc/${pid}/stat`, 'utf8')
            .replace(/^.*\) /s, '')
            .split(' ')[1] === String(parent) && startOf(pid) !== undefined
        )
      } catch {
        return false // it has ended in the meantime
      }
    })
    .sort((a, b) => a - b)
}

/** How many connections of clients a worker has: those to the service's port. */
function clientsOf(pid: number, url: string): number {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0')
  const sockets = new Set<string>()
  for (const table of ['tcp', 'tcp6']) {
    // `sl local_address rem_address st …`, the inode is the tenth; state 01 is established.
    for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'latin1').split('\n')) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      if (local.endsWith(`:${port}`) && state === '01') sockets.add(`socket:[${inode}]`)
    }
  }
  return readdirSync(`/proc/${pid}/fd`).filter(fd => {
    try {
      return sockets.has(readlinkSync(`/proc/${pid}/fd/${fd}`))
    } catch {
      return false // it was closed in the meantime
    }
  }).length
}

const metric = (text: string, name: string): number[] =>
  [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].map(([, value]) =>
    Number(value)
  )

const metricsOf = async (url: string): Promise<string> =>
  await (await fetch(`${url}/metrics`)).text()

/**
 * Posts on a connection of its own, so that every POST may reach another worker. No answer within
 * a minute is an error of its own kind: where all workers were killed, one has to start first.
 */
function postOnce(url: string, room: string, text: string, key: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = http.request(
      `${url}/rooms/${room}/messages`,
      {
        method: 'POST',
        agent: false,
        timeout: 60_000,
        headers: { 'content-type': 'application/json', 'idempotency-key': key }
      },
      response => {
        response
          .on('error', reject)
          .on('end', () => {
            resolve(response.statusCode ?? 0)
          })
          .resume()
      }
    )
    call
      .on('timeout', () => {
        call.destroy(new Error('no answer'))
      })
      .on('error', reject)
    call.end(JSON.stringify({ user: 'ann', text }))
  })
}

t.test('connections are shared evenly, and the metrics cover all workers', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env })
  const workers = workersOf(service.pid)
  t.equal(workers.length, WORKERS)
  t.same((await request(`${service.url}/health/ready`)).body['workers'], {
    running: WORKERS,
    wanted: WORKERS
  })

  const room = freshRoom()
  // Short connections come between the streams, and must not move them all to one worker.
  const readers = []
  for (const n of sequence(1, 30)) {
    readers.push(openSse(t, `${service.url}/rooms/${room}/events`))
    t.equal(await postOnce(service.url, room, `text ${n}`, randomUUID()), 201)
  }
  for (const reader of readers) await until('all is read', () => reader.seqs.length === 30)
  const shares = workers.map(pid => clientsOf(pid, service.url))
  const total = shares.reduce((sum, share) => sum + share, 0)
  t.ok(total >= 30, `${total} connections are found, the streams among them`)
  t.ok(
    Math.max(...shares) - Math.min(...shares) <= 4,
    `connections of each worker: ${shares.join(', ')}`
  )

  const text = await metricsOf(service.url)
  t.same(metric(text, 'dialogs_streams'), [30])
  t.same(metric(text, 'dialogs_posts_total'), [30])
  t.equal(metric(text, 'dialogs_post_seconds_count')[0], 30)
  t.same(metric(text, 'dialogs_degraded_shards'), [0])
  for (const worker of sequence(1, WORKERS)) {
    t.ok((metric(text, `process_resident_memory_bytes\\{worker="${worker}"\\}`)[0] ?? 0) > 0)
  }
  t.equal(metric(text, 'process_start_time_seconds').length, WORKERS)
})

t.test(
  'workers killed under load: the port never refuses, no request hangs, readers resume, no message is lost',
  async t => {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: { ...env, RETRY_MS: '100' }
    })
    const room = freshRoom()
    const seen = sequence(1, 30).map(() => {
      const seqs: number[] = []
      const source = new EventSource(`${service.url}/rooms/${room}/events`)
      t.teardown(() => {
        source.close()
      })
      source.onmessage = ({ data }) => {
        seqs.push(JSON.parse(data).seq)
      }
      return { source, seqs }
    })
    const errors = new Map<string, number>()
    const acknowledged: string[] = []
    const over = new AbortController()
    const writing = sequence(1, 12).map(async writer => {
      for (let n = 1; !over.signal.aborted; n++) {
        const text = `${writer}/${n}`
        const key = randomUUID()
        for (let isDone = false; !isDone;) {
          try {
            const status = await postOnce(service.url, room, text, key)
            isDone = status === 200 || status === 201
            if (!isDone) errors.set(String(status), (errors.get(String(status)) ?? 0) + 1)
          } catch (error) {
            const { code = String(error) } = error as NodeJS.ErrnoException
            errors.set(code, (errors.get(code) ?? 0) + 1)
            await sleep(20)
          }
        }
        acknowledged.push(text)
      }
    })
    const killed: number[] = []
    for (const round of sequence(1, 6)) {
      await sleep(700)
      const victim = workersOf(service.pid).find(pid => !killed.includes(pid))
      if (victim === undefined) throw new Error(`no worker to kill in round ${round}`)
      process.kill(victim, 'SIGKILL')
      killed.push(victim)
    }
    await until('all workers are back', async () => {
      const { running } = (await request(`${service.url}/health/ready`)).body['workers'] as {
        running: number
      } // Team in operations.ts
      return running === WORKERS
    })
    await sleep(500)
    over.abort()
    await Promise.all(writing)

    t.comment(
      `${acknowledged.length} acknowledged; errors: ${[...errors].map(([code, count]) => `${count} × ${code}`).join(', ') || 'none'}`
    )
    t.ok(
      [...errors.keys()].every(code => ['ECONNRESET', 'EPIPE'].includes(code)),
      'only what a killed process was working on fails'
    )
    const stored = await readAll(service.url, room)
    t.same(
      stored.map(({ seq }) => seq),
      sequence(1, stored.length)
    )
    t.same(
      stored.map(({ text }) => String(text)).sort(),
      acknowledged.sort(),
      'each message is there once'
    )
    for (const { source, seqs } of seen) {
      await until('a reader has everything', () => seqs.length >= stored.length)
      t.same(seqs, sequence(1, stored.length))
      t.not(source.readyState, EventSource.CLOSED)
    }
    t.match(
      service.errors,
      new RegExp(
        `Worker \\d \\(process ${killed[0]}\\) ended: SIGKILL\\. Starting another in \\d+ ms`
      )
    )
  }
)

t.test('a killed worker loses only what it has counted in the last seconds', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env })
  const room = freshRoom()
  for (const n of sequence(1, 30)) {
    t.equal(await postOnce(service.url, room, `text ${n}`, randomUUID()), 201)
  }
  // Nobody asks for the metrics meanwhile. A worker reports every 5 s.
  await sleep(6000)
  const workers = workersOf(service.pid)
  for (const pid of workers) process.kill(pid, 'SIGKILL')
  await until('other workers take their places', () =>
    workers.every(pid => !workersOf(service.pid).includes(pid))
  )
  await until('they answer', async () => (await fetch(`${service.url}/health/ready`)).ok)
  t.same(metric(await metricsOf(service.url), 'dialogs_posts_total'), [30])
})

t.test('a worker that is asked to end drains, and is replaced', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env })
  const room = freshRoom()
  // Several times: a connection may be on its way to the worker at that moment.
  for (let round = 1; round <= 5; round++) {
    const [worker = 0] = workersOf(service.pid)
    process.kill(worker, 'SIGTERM')
    while (startOf(worker) !== undefined) {
      t.equal(await postOnce(service.url, room, 'hello', randomUUID()), 201)
    }
    await until('another worker takes its place', async () => {
      // Team in operations.ts; a process that is stopping answers without it.
      const { workers } = (await request(`${service.url}/health/ready`)).body as {
        workers?: { running: number }
      }
      return workers?.running === WORKERS
    })
  }
})

t.test('SIGTERM ends all workers after they have finished what is in progress', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env })
  const room = freshRoom()
  const reader = openSse(t, `${service.url}/rooms/${room}/events`)
  await reader.isLive()
  const workers = workersOf(service.pid)
  const posts = sequence(1, 100).map(n => postOnce(service.url, room, `text ${n}`, randomUUID()))
  await Promise.race(posts)
  const ended = service.stop()
  const outcomes = await Promise.allSettled(posts)
  t.same(
    outcomes.filter(outcome => outcome.status === 'fulfilled' && outcome.value !== 201),
    [],
    'no POST is answered with an error'
  )
  t.equal(await ended, 0)
  await until('the stream has ended', () => reader.hasEnded)
  t.same(
    workers.filter(pid => startOf(pid) !== undefined),
    [],
    'no worker is left'
  )
})

t.test('workers end when their parent is killed', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env })
  const workers = workersOf(service.pid)
  await service.kill()
  await until('all have ended', () => workers.every(pid => startOf(pid) === undefined))
})

t.test('if workers die again and again, the service says so and ends', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env: { WORKERS: '2' } })
  const deadline = Date.now() + 120_000
  while (service.isRunning && Date.now() < deadline) {
    for (const pid of workersOf(service.pid)) process.kill(pid, 'SIGKILL')
    await sleep(20)
  }
  t.notOk(service.isRunning)
  t.match(service.errors, /Workers died \d+ times in a row, the last one with SIGKILL: giving up\n/)
})

t.test('if workers cannot start, the reason is printed once, and nothing is left', async t => {
  const service = new Service({
    redisNodes: ['redis://127.0.0.1:1'],
    env: { WORKERS: '2', STORE_DEADLINE_MS: '300' }
  })
  await t.rejects(
    service.start(),
    /The service did not start: Dialogs cannot start: No Redis Cluster at 127\.0\.0\.1:1: .*\n$/
  )
})

t.test('the parent starts the embedded cluster once for all workers', async t => {
  const service = await startService(t, { env: { WORKERS: '2', DATA_DIR: temporaryDir(t) } })
  const room = freshRoom()
  for (const n of sequence(1, 10)) {
    t.equal((await post(service.url, room, 'ann', `text ${n}`)).status, 201)
  }
  t.match(
    service.output,
    /^Creating a Redis Cluster of 3 masters and 3 replicas in .*\n2 workers serve one port\n/
  )
  t.equal(await service.stop(), 0)
})

t.test('with one worker, the service runs in the parent itself', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env: { WORKERS: '1' } })
  t.same(workersOf(service.pid), [])
  t.same((await request(`${service.url}/health/ready`)).body['workers'], undefined)
})
