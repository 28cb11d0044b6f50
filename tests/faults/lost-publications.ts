// Every way in which the publication of a last message can be lost. The readers of another process
// must get the message all the same, within the time that src/README.md states. The slow audit is
// set so slow here that it finds nothing.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { PEER_PLACES } from '../../src/store/keys.js'
import { freshRoom, newName, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService, type Service } from '../support/service.js'
import { openSse, type SseReader } from '../support/sse.js'
import { openStore } from '../support/store.js'
import { until } from '../support/until.js'

const VANISHED_MS = 2000
const RECHECK_MS = 1000
/**
 * The sign of life expires, another process hears of it, and looks at all rooms; with time to spare
 * for a busy machine.
 */
const NOTICED_MS_MAX = VANISHED_MS + VANISHED_MS / 5 + RECHECK_MS + 3000

const cluster = await startCluster(t)
const env = { VANISHED_MS: String(VANISHED_MS), RECHECK_MS: String(RECHECK_MS) }
const start = (t: Test): Promise<Service> =>
  startService(t, { redisNodes: cluster.urls, env: { ...env } })

async function tellAll(...words: string[]): Promise<void> {
  for (const { url } of cluster.nodes) {
    const client = await connect(url)
    try {
      await client.sendCommand(words)
    } finally {
      await client.disconnect()
    }
  }
}

/** While `work` runs, Redis refuses to publish anything. */
async function withoutPublishing(work: () => Promise<void>): Promise<void> {
  await tellAll('ACL', 'SETUSER', 'service', '-spublish')
  try {
    await work()
  } finally {
    await tellAll('ACL', 'SETUSER', 'service', '+spublish')
  }
}

/** A reader that has one message and knows of no other. */
async function openReader(t: Test, service: Service, room: string): Promise<SseReader> {
  await post(service.url, room, 'ann', 'first')
  const reader = openSse(t, `${service.url}/rooms/${room}/events`)
  await reader.isLive()
  return reader
}

/** @returns after how many ms the second message arrived */
async function noticed(reader: SseReader, ms = NOTICED_MS_MAX): Promise<number> {
  const from = performance.now()
  await until('the last message is there', () => reader.seqs.at(-1) === 2, ms)
  return performance.now() - from
}

/** Whether a value has everything that the other one has, at any depth. */
const includes = (value: unknown, wanted: unknown): boolean =>
  typeof wanted === 'object' && wanted !== null
    ? Object.entries(wanted).every(([name, inner]) =>
        includes((value as Record<string, unknown> | null | undefined)?.[name], inner)
      )
    : value === wanted

async function doubts({ url }: Service): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return [...text.matchAll(/^dialogs_doubts_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0
  )
}

const reading = await start(t)

// The first test, because looks after an earlier death would find what is lost here.
t.test(
  'processes are killed after they stored an invitation, a mark, a removal, a change, a deletion: everybody sees it in the same time',
  async t => {
    const json = (method: string, body: object): RequestInit => ({
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })
    /** The path below the room and what is sent there; what a reader and a person then see. */
    type Act = {
      readonly what: string
      readonly send: (person: string) => readonly [path: string, init: RequestInit]
      readonly reader?: object
      readonly person: object
    }
    const acts: readonly Act[] = [
      {
        what: 'an invitation',
        send: () => ['/users/guest', { method: 'PUT' }],
        person: { event: 'room', data: { unread: 1 } }
      },
      {
        what: 'a mark',
        send: person => [`/users/${person}/read`, json('PUT', { seq: 1 })],
        person: { event: 'room', data: { read: 1, unread: 0 } }
      },
      {
        what: 'a removal',
        send: person => [`/users/${person}`, { method: 'DELETE' }],
        person: { event: 'left' }
      },
      {
        what: 'a change',
        send: () => ['/messages/1', json('PATCH', { user: 'ann', text: 'changed' })],
        reader: { event: 'changed', data: { changes: 1, text: 'changed' } },
        person: { event: 'room', data: { last: { text: 'changed' } } }
      },
      {
        what: 'a deletion',
        send: () => ['/messages/1?user=ann', { method: 'DELETE' }],
        reader: { event: 'changed', data: { changes: 1, deleted: true } },
        person: { event: 'room', data: { last: { deleted: true } } }
      },
      {
        what: 'a deleted room',
        send: () => ['', { method: 'DELETE' }],
        reader: { event: 'reset' },
        person: { event: 'left' }
      }
    ]
    const watched = await Promise.all(
      acts.map(async act => {
        const [room, name] = [freshRoom(), newName()]
        const writing = await start(t)
        const [path, init] = act.send(name)
        const reader = await openReader(t, reading, room)
        if (act.what !== 'an invitation') {
          await request(`${reading.url}/rooms/${room}/users/${name}`, { method: 'PUT' })
        }
        const person = openSse(t, `${reading.url}/users/${name}/events`)
        await person.isLive()
        return {
          ...act,
          streams: { reader, person },
          act: () => fetch(`${writing.url}/rooms/${room}${path.replace('guest', name)}`, init),
          writing
        }
      })
    )
    const seen = (stream: SseReader, from: number, wanted: object): boolean =>
      stream.events.slice(from).some(event => includes(event, wanted))
    const before = watched.map(({ streams: { person } }) => person.events.length)
    await withoutPublishing(async () => {
      await Promise.all(
        watched.map(async ({ act, writing }) => {
          await act()
          await writing.kill()
        })
      )
    })
    const from = performance.now()
    await Promise.all(
      watched.map(async ({ what, reader: wanted, person, streams }, index) => {
        await until(
          `everybody sees ${what}`,
          () =>
            (wanted === undefined || seen(streams.reader, 0, wanted)) &&
            seen(streams.person, before[index] ?? 0, person),
          NOTICED_MS_MAX
        )
        t.pass(`${what} is noticed`)
        t.comment(`${what}: noticed after ${Math.round(performance.now() - from)} ms`)
      })
    )
  }
)

t.test('the writer is killed between commit and publication', async t => {
  const writing = await start(t)
  const room = freshRoom()
  const reader = await openReader(t, reading, room)
  await withoutPublishing(async () => {
    await post(writing.url, room, 'bob', 'last')
    // Before the writer can tell the others that the publication failed.
    await writing.kill()
  })
  t.same(reader.seqs, [1])
  t.comment(`noticed after ${Math.round(await noticed(reader))} ms`)
})

t.test('the writer is paused between commit and publication', async t => {
  const writing = await start(t)
  const room = freshRoom()
  const reader = await openReader(t, reading, room)
  await withoutPublishing(async () => {
    await post(writing.url, room, 'bob', 'last')
    process.kill(writing.pid ?? 0, 'SIGSTOP')
  })
  t.comment(`noticed after ${Math.round(await noticed(reader))} ms`)
  process.kill(writing.pid ?? 0, 'SIGCONT')
})

t.test('the writer is alive, and Redis refuses its publication', async t => {
  const writing = await start(t)
  const room = freshRoom()
  const reader = await openReader(t, reading, room)
  await withoutPublishing(async () => {
    await post(writing.url, room, 'bob', 'last')
    const ms = await noticed(reader, VANISHED_MS)
    t.comment(`noticed after ${Math.round(ms)} ms, while publishing was still refused`)
  })
})

t.test('the reading process is paused while a writer starts and dies', async t => {
  const other = await start(t)
  const room = freshRoom()
  const reader = await openReader(t, other, room)
  process.kill(other.pid ?? 0, 'SIGSTOP')
  const writing = await start(t)
  await withoutPublishing(async () => {
    await post(writing.url, room, 'bob', 'last')
    await writing.kill()
  })
  // The others have noticed the death, so it is old news when the paused process wakes.
  const before = await doubts(reading)
  await until('the others notice', async () => (await doubts(reading)) > before, NOTICED_MS_MAX)
  process.kill(other.pid ?? 0, 'SIGCONT')
  t.comment(`noticed ${Math.round(await noticed(reader))} ms after waking`)
})

t.test('everything that processes know of each other is lost', async t => {
  const room = freshRoom()
  const reader = await openReader(t, reading, room)
  const { store } = await openStore(t, cluster)
  // A writer that nobody knew of, such as one of an older version, has died.
  await store.append({ room, user: 'bob', text: 'last', once: undefined })
  for (const { signs, doubts, clock } of PEER_PLACES) {
    for (const key of [signs, doubts, clock]) {
      for (const { url } of cluster.nodes) {
        const client = await connect(url)
        await client.sendCommand(['DEL', key]).catch(() => undefined)
        await client.disconnect()
      }
    }
  }
  t.comment(`noticed after ${Math.round(await noticed(reader))} ms`)
})

t.test('a writer that nobody knows of is found by the slow audit only', async t => {
  const slow = await startService(t, {
    redisNodes: cluster.urls,
    env: { ...env, AUDIT_MS: '3000' }
  })
  const room = freshRoom()
  const reader = await openReader(t, slow, room)
  const { store } = await openStore(t, cluster)
  await store.append({ room, user: 'bob', text: 'last', once: undefined })
  t.comment(`noticed after ${Math.round(await noticed(reader, 6000))} ms`)
})

t.test('a process that stops properly, and one that starts, cost the others nothing', async t => {
  // The three places announce an earlier death one after the other.
  await until('earlier deaths have been heard of everywhere', async () => {
    const heard = await doubts(reading)
    await sleep(1.5 * VANISHED_MS)
    return heard === (await doubts(reading))
  })
  const passing = await start(t)
  const room = freshRoom()
  await openReader(t, passing, room)
  const before = await doubts(reading)
  await passing.stop()
  await sleep(1.5 * VANISHED_MS)
  t.equal(await doubts(reading), before)
})
