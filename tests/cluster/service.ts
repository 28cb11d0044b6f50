// The main job over HTTP: writing, reading and streaming, on a real cluster and real sockets.
import { spawn } from 'node:child_process'
import { EventSource } from 'eventsource'
import t from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, {
  redisNodes: cluster.urls,
  env: { HEARTBEAT_MS: '150', AUDIT_MS: '500', DRAIN_MS: '2000' }
})
const other = await startService(t, { redisNodes: cluster.urls })
const { url } = service

t.test('a message is answered with its sequence, its time and its place', async t => {
  const room = freshRoom()
  const before = Date.now()
  const { status, headers, body } = await post(url, room, 'ann', 'hello')
  t.equal(status, 201)
  t.match(body, {
    room,
    seq: 1,
    user: 'ann',
    text: 'hello',
    at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
  })
  t.ok(Math.abs(Date.parse(String(body['at'])) - before) < 5000)
  t.equal(headers.get('location'), `/rooms/${room}/messages/1`)
  t.same((await request(url + headers.get('location'))).body, body)
})

t.test(
  'the sequences of a room are 1, 2, 3 …, whoever writes and through whichever process',
  async t => {
    const room = freshRoom()
    await Promise.all([
      postMany(url, room, 'ann', 40),
      postMany(other.url, room, 'bob', 40),
      postMany(url, room, 'cyd', 40)
    ])
    const messages = await readAll(other.url, room)
    t.same(
      messages.map(({ seq }) => seq),
      sequence(1, 120)
    )
    for (const user of ['ann', 'bob', 'cyd']) {
      t.same(
        messages.filter(message => message['user'] === user).map(({ text }) => text),
        sequence(1, 40).map(n => `${user} ${n}`),
        'in the order in which they were written'
      )
    }
  }
)

t.test('names and texts in any language come back unchanged', async t => {
  const room = 'Zimmer/รุ้ง ?&#.'
  const user = 'Ólafur 👩‍👩‍👧'
  const text = 'line 1\nline 2\t"quoted" \\ \u2028 data: x\n\nid: 5 سلام 😀 </script>'
  t.equal((await post(url, room, user, text)).status, 201)
  const stream = openSse(t, `${url}/rooms/${encodeURIComponent(room)}/events`)
  await stream.isLive()
  t.match(stream.events[0]?.data, { room, user, text })
  t.match((await readAll(url, room))[0], { room, user, text })
})

t.test('pages', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 60)
  const page = async (query: string): Promise<{ head: unknown; seqs: unknown[] }> => {
    const { body } = await request(`${url}/rooms/${room}/messages${query}`)
    return {
      head: body['head'],
      seqs: (body['messages'] as Array<{ seq: number }>).map(({ seq }) => seq)
    }
  }
  t.same(await page(''), { head: 60, seqs: sequence(11, 60) }, 'the newest 50 by default')
  t.same(await page('?limit=1'), { head: 60, seqs: [60] })
  t.same(await page('?limit=1000'), { head: 60, seqs: sequence(1, 60) })
  t.same(await page('?after=10&limit=3'), { head: 60, seqs: [11, 12, 13] })
  t.same(await page('?before=10&limit=3'), { head: 60, seqs: [7, 8, 9] })
  t.same(await page('?after=10&before=13'), { head: 60, seqs: [11, 12] })
  t.same(await page('?before=1'), { head: 60, seqs: [] })
  t.same(await page('?after=60'), { head: 60, seqs: [] })
  t.same(await page('?after=61'), { head: 60, seqs: [] })
  t.same(
    await page('?after=59-1700000000000'),
    { head: 60, seqs: [60] },
    'a cursor from a stream works as well'
  )
  t.same(
    (await request(`${url}/rooms/${freshRoom()}/messages`)).body['messages'],
    [],
    'a room that nobody has written to is empty'
  )
})

t.test('users and blocks of a room are listed', async t => {
  const room = freshRoom()
  const [lady, bob] = [`lady-${room}`, `bob-${room}`]
  await postMany(url, room, lady, 3)
  await postMany(url, room, bob, 1)
  await until(
    'the counters are present',
    async () => (await request(`${url}/rooms/${room}/users`)).body['users']?.toString() !== ''
  )
  await until(
    'all are counted',
    async () =>
      JSON.stringify((await request(`${url}/rooms/${room}/users`)).body['users']) ===
      JSON.stringify([
        { user: lady, messages: 3 },
        { user: bob, messages: 1 }
      ])
  )
  const { body } = await request(`${url}/rooms/${room}/blocks`)
  t.match(body, {
    room,
    blocks: {
      length: 2,
      0: { key: `${room}.{${lady}.0}`, slot: Number, shard: /^127\.0\.0\.1:\d+$/, messages: 3 },
      1: { key: `${room}.{${bob}.0}`, messages: 1 }
    }
  })
})

t.test('the cluster is shown with its shards', async t => {
  const { body } = await request(`${url}/cluster`)
  const shards = body['shards'] as Array<Record<string, unknown>>
  t.equal(shards.length, 3)
  t.equal(
    shards.reduce((sum, { slotCount }) => sum + Number(slotCount), 0),
    16384
  )
  for (const shard of shards) {
    t.match(shard, {
      id: /^[0-9a-f]{40}$/,
      master: { isUp: true },
      replicas: { length: 1, 0: { isUp: true } },
      keys: Number,
      memoryBytes: Number
    })
  }
})

t.test('those who ask for the cluster at once share the reads', async t => {
  const [node] = cluster.nodes
  if (node === undefined) throw new Error('no node')
  const client = await connect(node.url)
  const sizesRead = async (): Promise<number> => {
    const stats = String(await client.sendCommand(['INFO', 'commandstats']))
    return Number(/cmdstat_dbsize:calls=(\d+)/.exec(stats)?.[1] ?? 0)
  }
  try {
    const before = await sizesRead()
    const answers = await Promise.all(sequence(1, 200).map(() => request(`${url}/cluster`)))
    for (const { status, body } of answers) {
      t.equal(status, 200)
      t.equal((body['shards'] as unknown[]).length, 3)
    }
    const reads = (await sizesRead()) - before
    t.ok(reads >= 1 && reads < 100, `${reads} reads for 200 requests`)
  } finally {
    await client.disconnect()
  }
})

t.test('operations', async t => {
  t.equal((await request(`${url}/health/live`)).status, 200)
  t.match((await request(`${url}/health/ready`)).body, { status: 'ok', shards: 3 })
  await postMany(url, freshRoom(), 'ann', 3)
  const metrics = async (): Promise<{
    readonly created: number
    readonly refused: number
    readonly timed: number
  }> => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const value = (line: RegExp): number => Number(line.exec(text)?.[1] ?? 0)
    return {
      created: value(/^dialogs_posts_total\{code="201"\} (\d+)$/m),
      refused: value(/^dialogs_posts_total\{code="400"\} (\d+)$/m),
      timed: value(/^dialogs_post_seconds_count (\d+)$/m)
    }
  }
  const before = await metrics()
  t.ok(before.created >= 3)
  t.same(await metrics(), before, 'looking changes nothing')
  await postMany(url, freshRoom(), 'ann', 2)
  t.equal(
    (
      await request(`${url}/rooms/${freshRoom()}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"user":"ann"}'
      })
    ).status,
    400
  )
  t.equal(
    (
      await request(`${url}/rooms/${freshRoom()}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"user":"{ann}","text":"hello"}'
      })
    ).status,
    400
  )
  t.same(
    await metrics(),
    { created: before.created + 2, refused: before.refused + 2, timed: before.timed + 4 },
    'messages and refusals are counted and timed, whichever part refused'
  )
  t.match((await request(`${url}/openapi.json`)).body, {
    paths: { '/rooms/{room}/messages': { post: {}, get: {} }, '/rooms/{room}/events': { get: {} } }
  })
})

t.test('a stream sends the history, says that it is live, and continues', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 5)
  const stream = openSse(t, `${url}/rooms/${room}/events`)
  await stream.isLive()
  t.equal(stream.status, 200)
  t.match(stream.headers, {
    'content-type': /^text\/event-stream/,
    'x-accel-buffering': 'no',
    'cache-control': /no-cache.*no-transform/
  })
  t.match(stream.text, /^retry: 1000\n\n/)
  t.same(stream.seqs, sequence(1, 5))
  t.match(stream.events[0], {
    id: /^1-\d{13}$/,
    event: 'message',
    data: { room, seq: 1, user: 'ann', text: 'ann 1' }
  })
  t.match(stream.events[5], { id: /^5-\d{13}$/, event: 'live', data: { room, head: 5 } })
  await postMany(other.url, room, 'bob', 5)
  await stream.sees('all ten', () => stream.seqs.length === 10)
  t.same(stream.seqs, sequence(1, 10))
})

t.test('an empty room is live at once', async t => {
  const room = freshRoom()
  const stream = openSse(t, `${url}/rooms/${room}/events`)
  await stream.isLive()
  t.match(stream.events, { length: 1, 0: { id: '0', event: 'live', data: { room, head: 0 } } })
  await post(url, room, 'ann', 'first')
  await stream.sees('the first message', () => stream.seqs.length === 1)
})

t.test('last, after and Last-Event-ID say where a stream starts', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 10)
  const seqs = async (query: string, headers?: Record<string, string>): Promise<number[]> => {
    const stream = openSse(t, `${url}/rooms/${room}/events${query}`, headers)
    await stream.isLive()
    return stream.seqs
  }
  t.same(await seqs('?last=3'), [8, 9, 10])
  t.same(await seqs('?last=0'), [])
  t.same(await seqs('?last=10'), sequence(1, 10))
  t.same(await seqs('?last=11'), sequence(1, 10))
  t.same(await seqs('?after=7'), [8, 9, 10])
  t.same(await seqs('?after=0'), sequence(1, 10))
  t.same(await seqs('?after=10'), [])
  t.same(await seqs('?after=2', { 'last-event-id': '9' }), [10], 'the header wins')
  const whole = openSse(t, `${url}/rooms/${room}/events`)
  await whole.isLive()
  const { id } = whole.events[3] ?? { id: '' }
  t.match(id, /^4-\d+$/)
  t.same(await seqs('', { 'last-event-id': id }), sequence(5, 10))
})

t.test('users and blocks come in pages, with their totals', async t => {
  const room = freshRoom()
  const names = sequence(1, 5).map(n => `${room}-${n}`)
  // The fifth user writes most.
  for (const [index, name] of names.entries()) await postMany(url, room, name, index + 1)
  const get = async (path: string): Promise<Record<string, unknown>> =>
    (await request(`${url}/rooms/${room}/${path}`)).body
  const ranked = names.toReversed().map((user, index) => ({ user, messages: 5 - index }))
  t.strictSame(await get('users'), { room, total: 5, users: ranked, next: null })
  t.strictSame(await get('users?limit=5'), { room, total: 5, users: ranked, next: null })
  t.strictSame(await get('users?limit=4'), {
    room,
    total: 5,
    users: ranked.slice(0, 4),
    next: names[1]
  })
  t.strictSame(await get(`users?limit=4&after=${names[1]}`), {
    room,
    total: 5,
    users: ranked.slice(4),
    next: null
  })
  t.strictSame(await get('users?limit=1000'), await get('users'))
  t.match(await get('users?after=nobody'), { statusCode: 400, code: 'INVALID_CURSOR' })
  for (const limit of ['0', '1001', 'x', '']) {
    for (const what of ['users', 'blocks']) {
      t.match(await get(`${what}?limit=${limit}`), { statusCode: 400, code: 'INVALID_QUERY' })
    }
  }
  const keys: string[] = []
  let pages = 0
  for (let after = ''; ; pages++) {
    const { users, blocks, next } = await get(
      `blocks?limit=2${after === '' ? '' : `&after=${after}`}`
    )
    t.equal(users, 5)
    // BlocksAnswer in src/routes/schemas.ts.
    keys.push(...(blocks as ReadonlyArray<{ key: string }>).map(({ key }) => key))
    if (next === null) break
    after = encodeURIComponent(String(next))
  }
  t.equal(pages, 2)
  t.strictSame(
    keys.sort(),
    names.map(name => `${room}.{${name}.0}`)
  )
  t.strictSame(await get(`blocks?after=${names[0]}.999`), await get(`blocks?after=${names[0]}.0`))
})

t.test('a silent stream gets heartbeats, which have an event name and no id', async t => {
  const stream = openSse(t, `${url}/rooms/${freshRoom()}/events`)
  await until('three heartbeats', () => stream.pings.length >= 3)
  t.match(stream.text, /\n\nevent: ping\ndata: \{\}\n\n/)
  t.equal(stream.events.length, 1, 'and nothing else')
})

t.test('the npm package eventsource follows a room, and resumes by itself', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 3)
  const seqs: number[] = []
  const source = new EventSource(`${url}/rooms/${room}/events`)
  t.teardown(() => {
    source.close()
  })
  source.onmessage = ({ data }) => {
    seqs.push(JSON.parse(data).seq)
  }
  await until('the history', () => seqs.length === 3)
  await service.restart()
  await postMany(other.url, room, 'bob', 3)
  await until('the rest after the service was restarted', () => seqs.length === 6, 30_000)
  t.same(seqs, sequence(1, 6))
})

t.test('curl -N shows the history and then new messages', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 2)
  const curl = spawn('curl', ['-sN', `${url}/rooms/${room}/events`], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => curl.kill())
  let stdout = ''
  curl.stdout.on('data', chunk => {
    stdout += String(chunk)
  })
  await until('curl is live', () => stdout.includes('event: live'))
  await post(url, room, 'bob', 'live')
  await until('curl has the new message', () => stdout.includes('"text":"live"'))
  t.match(
    stdout,
    /id: 1-\d+\ndata: {.*}\n\nid: 2-\d+\ndata: {.*}\n\nid: 2-\d+\nevent: live\ndata: {.*}\n\n(event: ping\ndata: {}\n\n)*id: 3-\d+\ndata: {.*"text":"live".*}\n/
  )
})

t.test('several rooms share one connection, and one id resumes them all', async t => {
  const [a, b, c] = [freshRoom(), freshRoom(), freshRoom()]
  await postMany(url, a, 'ann', 3)
  await postMany(url, b, 'bob', 2)
  const query = `?room=${a}&room=${b}&room=${c}`
  const stream = openSse(t, `${url}/events${query}`)
  const seqs = (
    events: readonly { data: Record<string, unknown>; event: string }[],
    room: string
  ): unknown[] =>
    events
      .filter(({ data, event }) => event === 'message' && data['room'] === room)
      .map(({ data }) => data['seq'])
  await stream.sees(
    'live three times',
    events => events.filter(({ event }) => event === 'live').length === 3
  )
  t.same(seqs(stream.events, a), [1, 2, 3])
  t.same(seqs(stream.events, b), [1, 2])
  await post(other.url, c, 'cyd', 'x')
  await stream.sees('the third room', events => seqs(events, c).length === 1)
  const { lastId } = stream
  t.match(lastId, /^3-\d+,2-\d+,1-\d+$/)
  stream.close()
  await postMany(url, a, 'ann', 2)
  await postMany(url, c, 'cyd', 1)
  const resumed = openSse(t, `${other.url}/events${query}`, { 'last-event-id': lastId })
  await resumed.sees(
    'live three times',
    events => events.filter(({ event }) => event === 'live').length === 3
  )
  t.same(seqs(resumed.events, a), [4, 5])
  t.same(seqs(resumed.events, b), [])
  t.same(seqs(resumed.events, c), [2])
  // A room that had no messages when the id was made starts as the request says.
  const early = openSse(t, `${url}/events${query}`, {
    'last-event-id': `${stream.events[0]?.id.split(',')[0] ?? ''},,`
  })
  await early.sees(
    'live three times',
    events => events.filter(({ event }) => event === 'live').length === 3
  )
  t.same(seqs(early.events, b), [1, 2])
})

t.test('one Idempotency-Key stores one message, whichever process is asked', async t => {
  const room = freshRoom()
  const key = { 'idempotency-key': room }
  const answers = await Promise.all(
    sequence(1, 20).map(n => post(n % 2 === 0 ? url : other.url, room, 'ann', 'once', key))
  )
  t.equal(answers.filter(({ status }) => status === 201).length, 1)
  t.equal(answers.filter(({ status }) => status === 200).length, 19)
  for (const { body } of answers) t.match(body, { room, seq: 1, user: 'ann', text: 'once' })
  t.equal((await readAll(url, room)).length, 1)
  t.match(await post(other.url, room, 'ann', 'twice', key), {
    status: 409,
    body: { code: 'IDEMPOTENCY_CONFLICT' }
  })
  t.match(await post(url, room, 'bob', 'once', key), {
    status: 409,
    body: { code: 'IDEMPOTENCY_CONFLICT' }
  })
})
