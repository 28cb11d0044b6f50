// A deleted room is gone from every answer, stream and key, through two processes. What is written
// afterwards never mixes with what was there before.
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { freshRoom, post, readAll, request, sequence, type Answer } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const env = { SEGMENT_LENGTH: '16', BLOCK_LENGTH: '10' }
const services = await Promise.all([
  startService(t, { redisNodes: cluster.urls, env }),
  startService(t, { redisNodes: cluster.urls, env })
])
const [one, two] = services.map(({ url }) => url) as [string, string]

const pathOf = (room: string): string => `/rooms/${encodeURIComponent(room)}`
const deleteRoom = (url: string, room: string): Promise<Answer> =>
  request(url + pathOf(room), { method: 'DELETE' })
const invite = (url: string, room: string, user: string): Promise<Answer> =>
  request(`${url}${pathOf(room)}/users/${user}`, { method: 'PUT' })
const roomsOf = async (url: string, user: string): Promise<string[]> => {
  const { body } = await request(`${url}/users/${user}/rooms`)
  return (body['rooms'] as Array<{ room: string }>).map(({ room }) => room)
}

t.test('a deleted room is in no answer, no stream, no list and no key', async t => {
  const room = freshRoom()
  const secret = `secret-${randomUUID()}`
  const [ann, bob, eve] = ['ann', 'bob', 'eve'].map(name => `${name}-${randomUUID().slice(0, 8)}`)
  const reader = openSse(t, `${two}${pathOf(room)}/events`)
  await reader.isLive()
  const inbox = openSse(t, `${two}/users/${bob}/events`)
  await inbox.isLive()
  // More than two segments and several blocks, so that some segments are sealed.
  for (const n of sequence(1, 40)) {
    await post(
      n % 2 === 0 ? one : two,
      room,
      n % 3 === 0 ? String(bob) : String(ann),
      `${secret} ${n}`
    )
  }
  await invite(one, room, String(eve))
  await request(`${one}${pathOf(room)}/messages/3`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: bob, text: `${secret} changed` })
  })
  await reader.sees('all', events => events.length === 42)
  t.strictSame(await roomsOf(two, String(eve)), [room])

  const answer = await deleteRoom(one, room)
  t.match(answer, { status: 200, body: { room, deleted: true, head: 42, done: true } })
  await reader.sees('the deletion', events => events.some(({ event }) => event === 'reset'))
  t.match(reader.events.at(-1), { event: 'live', id: /^42-\d+$/, data: { head: 42 } })
  t.match(reader.events.at(-2), { event: 'reset', data: { room, reason: 'deleted', head: 42 } })
  await inbox.sees('that it is gone', events => events.at(-1)?.event === 'left')

  const keys = await everythingIn(cluster)
  t.notOk(keys.includes(secret), 'its texts are in no key')
  for (const user of [ann, bob, eve]) {
    t.notOk(keys.includes(`${room}.{${user}`), 'no block is left')
    for (const url of [one, two]) t.strictSame(await roomsOf(url, String(user)), [], 'in no list')
  }
  for (const url of [one, two]) {
    t.match(await request(`${url}${pathOf(room)}/messages`), {
      status: 200,
      body: { head: 42, messages: [] }
    })
    t.strictSame(await readAll(url, room), [])
    t.match(await request(`${url}${pathOf(room)}/messages?before=30`), { body: { messages: [] } })
    t.match(await request(`${url}${pathOf(room)}/messages?after=3`), { body: { messages: [] } })
    t.match(await request(`${url}${pathOf(room)}/messages/3`), {
      status: 410,
      body: { code: 'MESSAGE_DELETED' }
    })
    t.match(await request(`${url}${pathOf(room)}/users`), { body: { total: 0, users: [] } })
    t.match(await request(`${url}${pathOf(room)}/blocks`), { body: { blocks: [] } })
    t.match(
      await request(`${url}${pathOf(room)}/users/${eve}/read`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: '{"seq":1}'
      }),
      { status: 404, body: { code: 'NOT_A_MEMBER' } }
    )
    const fresh = openSse(t, `${url}${pathOf(room)}/events`)
    await fresh.isLive()
    t.strictSame(
      fresh.events.map(({ event }) => event),
      ['live']
    )
  }
  t.match(await deleteRoom(two, room), { status: 200, body: { head: 42, at: answer.body['at'] } })
})

t.test('a room that is used again after its deletion never mixes with its former life', async t => {
  const room = freshRoom()
  const user = `ann-${randomUUID().slice(0, 8)}`
  for (const n of sequence(1, 35)) await post(n % 2 === 0 ? one : two, room, user, `old ${n}`)
  await post(one, room, user, 'old, with a key', { 'idempotency-key': 'k' })
  const { body } = await request(`${one}${pathOf(room)}/messages?limit=1`)
  const last = (body['messages'] as Array<{ seq: number; at: string }>)[0]
  const cursor = `${last?.seq}-${Date.parse(last?.at ?? '')}`
  await deleteRoom(one, room)
  // Both processes cached numbers, heads and blocks of its former life.
  for (const n of sequence(1, 50)) await post(n % 2 === 0 ? one : two, room, user, `new ${n}`)
  for (const url of [one, two]) {
    const entries = await readAll(url, room)
    t.strictSame(
      entries.map(({ seq, text }) => [seq, text]),
      sequence(1, 50).map(n => [37 + n, `new ${n}`])
    )
    t.match(
      await request(`${url}${pathOf(room)}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'k' },
        body: JSON.stringify({ user, text: 'old, with a key' })
      }),
      { status: 410, body: { code: 'MESSAGE_DELETED' } }
    )
    for (const after of [cursor, '1', '0', '36', '20-5']) {
      const resumed = openSse(t, `${url}${pathOf(room)}/events?after=${after}`)
      await resumed.isLive()
      t.match(resumed.events[0], { event: 'reset', data: { reason: 'deleted', head: 87 } }, after)
      t.strictSame(
        resumed.events.filter(({ event }) => event === 'message').map(({ data }) => data['seq']),
        sequence(38, 87),
        after
      )
    }
    const after = openSse(t, `${url}${pathOf(room)}/events?after=37`)
    await after.isLive()
    t.equal(after.events.length, 51, 'a client that was told of the deletion resumes after it')
    t.match(await request(`${url}${pathOf(room)}/users`), {
      body: { total: 1, users: [{ user, messages: 50 }] }
    })
    t.match(await request(`${url}/users/${user}/rooms`), {
      body: { rooms: [{ room, head: 87, unread: 0, last: { text: 'new 50' } }] }
    })
    const { body: paged } = await request(`${url}${pathOf(room)}/messages?after=0&limit=2`)
    t.match(paged, { messages: [{ seq: 38 }, { seq: 39 }] })
  }
  const { body: blocks } = await request(`${one}${pathOf(room)}/blocks`)
  t.equal(
    (blocks['blocks'] as Array<{ messages: number }>).reduce((sum, b) => sum + b.messages, 0),
    50
  )
})

t.test(
  'deleting a room that never existed, a room with only members, and a room three times',
  async t => {
    t.match(await deleteRoom(one, freshRoom()), { status: 404, body: { code: 'ROOM_NOT_FOUND' } })
    const room = freshRoom()
    await invite(one, room, 'zoe')
    t.match(await deleteRoom(two, room), { status: 200, body: { head: 2, done: true } })
    t.match(await request(`${one}${pathOf(room)}/users`), { body: { total: 0 } })
    for (const life of sequence(1, 3)) {
      for (const n of sequence(1, 20)) {
        await post(n % 2 === 0 ? one : two, room, 'zoe', `${life} ${n}`)
      }
      const entries = await readAll(two, room)
      t.strictSame(
        entries.map(({ text }) => text),
        sequence(1, 20).map(n => `${life} ${n}`)
      )
      t.match(await deleteRoom(life % 2 === 0 ? one : two, room), {
        status: 200,
        body: { head: 2 + 21 * life }
      })
    }
  }
)

t.test('messages are written while the room is deleted again and again', async t => {
  const room = freshRoom()
  const users = ['ann', 'bob'].map(name => `${name}-${randomUUID().slice(0, 8)}`)
  const reader = openSse(t, `${two}${pathOf(room)}/events`)
  await reader.isLive()
  const writing = new AbortController()
  let written = 0
  const writers = [one, two, one, two].map(async (url, index) => {
    while (!writing.signal.aborted) {
      const keyed = index > 1
      const { status } = await request(`${url}${pathOf(room)}/messages`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(keyed ? { 'idempotency-key': randomUUID() } : {})
        },
        body: JSON.stringify({ user: users[index % 2], text: `text ${written++}` })
      })
      t.equal(status, 201)
    }
  })
  let head = 0
  for (const round of sequence(1, 8)) {
    await until('some more', () => written > round * 30)
    const { status, body } = await deleteRoom(round % 2 === 0 ? one : two, room)
    t.equal(status, 200)
    t.ok(Number(body['head']) > head, 'it never goes back')
    head = Number(body['head'])
  }
  writing.abort()
  await Promise.all(writers)
  for (const url of [one, two]) {
    const entries = await readAll(url, room)
    t.strictSame(
      entries.map(({ seq }) => seq),
      entries.map((_, index) => head + 1 + index)
    )
    t.ok(
      entries.every(entry => 'text' in entry),
      'none is lost'
    )
    const { body } = await request(`${url}${pathOf(room)}/users`)
    t.equal(
      (body['users'] as Array<{ messages: number }>).reduce((sum, u) => sum + u.messages, 0),
      entries.length,
      'the counters cover the last life only'
    )
    const replay = openSse(t, `${url}${pathOf(room)}/events`)
    await replay.isLive()
    t.strictSame(
      replay.events.filter(({ event }) => event === 'message').map(({ data }) => data['text']),
      entries.map(({ text }) => text)
    )
  }
  const lost = reader.events.filter(({ event }) => event === 'lost')
  t.strictSame(lost, [], 'nobody was told of a lost message')
})
