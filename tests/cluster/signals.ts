// Signals: which readers get them, through which process, and that nothing of them is stored.
import t from 'tap'
import { freshRoom, post, request, type Answer } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'

const cluster = await startCluster(t)
const [one, two] = await Promise.all([
  startService(t, { redisNodes: cluster.urls }),
  startService(t, { redisNodes: cluster.urls, env: { SIGNALS_PER_SECOND_MAX: '3' } })
])

const signal = (url: string, room: string, body: object): Promise<Answer> =>
  request(`${url}/rooms/${encodeURIComponent(room)}/signals`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })

t.test('readers at all processes get a signal as it was sent, without an id', async t => {
  const room = freshRoom()
  const other = freshRoom()
  await post(one.url, room, 'ann', 'hello')
  const readers = [
    openSse(t, `${one.url}/rooms/${room}/events`),
    openSse(t, `${two.url}/rooms/${room}/events`),
    openSse(t, `${two.url}/events?room=${other}&room=${room}`)
  ]
  await Promise.all(readers.map(reader => reader.isLive()))
  await readers[2]?.sees('both are live', events =>
    [other, room].every(room =>
      events.some(({ event, data }) => event === 'live' && data['room'] === room)
    )
  )
  const sent = { user: 'bob', kind: 'typing', data: { since: [1, 'ä\n\n'] } }
  t.match(await signal(one.url, room, sent), { status: 204, body: {} })
  for (const reader of readers) {
    await reader.sees('the signal', events => events.some(({ event }) => event === 'signal'))
    t.match(reader.events.at(-1), { event: 'signal', data: { room, ...sent } })
    t.notMatch(reader.text.slice(reader.text.indexOf('event: signal')), /^id:/m)
    t.equal(reader.lastId, '', "a client's cursor does not move")
  }
  t.equal((await signal(one.url, room, { user: 'bob', kind: 'x' })).status, 204, 'without data')
  await readers[0]?.sees('the second', events => events.at(-1)?.data['kind'] === 'x')

  const late = openSse(t, `${one.url}/rooms/${room}/events`)
  await late.isLive()
  await post(one.url, room, 'ann', 'a message after it')
  await late.sees('what came later', events => events.length === 3)
  t.notMatch(late.text, 'signal', 'a reader that joins later gets no earlier signals')
})

t.test('nothing is stored: no key and no text', async t => {
  const room = freshRoom()
  await signal(one.url, room, { user: 'bob', kind: 'typing', data: 'remember me' })
  const everything = await everythingIn(cluster)
  t.notOk(everything.includes(room))
  t.notOk(everything.includes('remember me'))
  t.match(await request(`${one.url}/rooms/${room}/messages`), { body: { head: 0, messages: [] } })
})

t.test('data has at most 1,024 bytes, and a kind is a short word', async t => {
  const room = freshRoom()
  const data = (bytes: number): string => 'ä'.repeat((bytes - 2) / 2)
  for (const [bytes, status] of [
    [1022, 204],
    [1024, 204],
    [1026, 400]
  ] as const) {
    const { status: answered } = await signal(one.url, room, {
      user: 'bob',
      kind: 'typing',
      data: data(bytes)
    })
    t.equal(answered, status, `${bytes} bytes`)
  }
  for (const [kind, status] of [
    ['', 400],
    ['k'.repeat(31), 204],
    ['k'.repeat(32), 204],
    ['k'.repeat(33), 400],
    ['two words', 400],
    ['line\nbreak', 400]
  ] as const) {
    t.equal((await signal(one.url, room, { user: 'bob', kind })).status, status, kind)
  }
  for (const data of ['1e999', '[{"a":-1e400}]']) {
    const sent = await request(`${one.url}/rooms/${room}/signals`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"user":"bob","kind":"typing","data":${data}}`
    })
    t.match(
      sent,
      { status: 400, body: { code: 'INVALID_BODY' } },
      `${data} is not passed on as null`
    )
  }
  t.match(await signal(one.url, 'a{', { user: 'bob', kind: 'x' }), {
    body: { code: 'INVALID_NAME' }
  })
  t.match(await signal(one.url, room, { user: '', kind: 'x' }), { body: { code: 'INVALID_NAME' } })
  t.match(await signal(one.url, room, { user: 'bob', kind: 'x', text: 'x' }), {
    body: { code: 'INVALID_BODY' }
  })
})

t.test('a service that passes on no signals says so for good, not: try again', async t => {
  const none = await startService(t, {
    redisNodes: cluster.urls,
    env: { SIGNALS_PER_SECOND_MAX: '0' }
  })
  const answer = await signal(none.url, freshRoom(), { user: 'bob', kind: 'typing' })
  t.match(answer, { status: 403, body: { code: 'SIGNALS_OFF' } })
  t.equal(answer.headers.get('retry-after'), null)
})

t.test('a process passes on a number of signals a second, and refuses the next', async t => {
  const room = freshRoom()
  const answers = await Promise.all(
    [1, 2, 3, 4].map(() => signal(two.url, room, { user: 'bob', kind: 'typing' }))
  )
  t.strictSame(answers.map(({ status }) => status).sort(), [204, 204, 204, 429])
  const refused = answers.find(({ status }) => status === 429)
  t.match(refused?.body, { code: 'RATE_LIMITED' })
  t.equal(refused?.headers.get('retry-after'), '1')
  t.equal((await signal(one.url, room, { user: 'bob', kind: 'x' })).status, 204, 'others go on')
})
