// A person's stream: what changes in their dialogs, through two processes of one cluster.
import t, { type Test } from 'tap'
import { freshRoom, post, postMany, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse, type Seen, type SseReader } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls })
const other = await startService(t, { redisNodes: cluster.urls, env: { STREAMS_MAX: '3' } })

let names = 0
const freshUser = (): string => `user-${++names}`
const open = (t: Test, user: string, query = '', base = url, headers = {}): SseReader =>
  openSse(t, `${base}/users/${user}/events${query}`, headers)
const change = async (method: string, path: string, body?: object, base = url): Promise<void> => {
  const { status } = await request(`${base}/rooms/${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  })
  if (status > 201) throw new Error(`${method} ${path} was answered ${status}`)
}
const add = (room: string, user: string, base = url): Promise<void> =>
  change('PUT', `${room}/users/${user}`, undefined, base)
const last = (events: readonly Seen[], room: string): Seen | undefined =>
  events.findLast(({ data }) => data['room'] === room)
const unreadIn = (stream: SseReader, room: string): unknown =>
  last(stream.events, room)?.data['unread']

t.test('a stream starts with every dialog, then `live`, and then brings the news', async t => {
  const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
  await postMany(url, room, ann, 3)
  await add(room, bob)
  const stream = open(t, bob)
  await stream.isLive()
  t.match(stream.events, [
    { event: 'room', data: { room, head: 3, read: 0, unread: 3, last: { seq: 3, user: ann } } },
    { event: 'live', data: { user: bob, rooms: [room], complete: true } }
  ])
  const { body } = await post(other.url, room, ann, 'hello')
  await stream.sees('the message', events => last(events, room)?.data['head'] === 4)
  t.strictSame(stream.events.at(-1)?.data, { room, head: 4, read: 0, unread: 4, last: body })
  await post(url, room, bob, 'my own')
  await stream.sees('their own', events => last(events, room)?.data['head'] === 5)
  t.equal(unreadIn(stream, room), 4)
})

t.test('what is read on one device is announced to the others, in every process', async t => {
  const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
  await postMany(url, room, ann, 5)
  await add(room, bob)
  const streams = [open(t, bob), open(t, bob, '', other.url)]
  for (const stream of streams) await stream.isLive()
  await change('PUT', `${room}/users/${bob}/read`, { seq: 3 })
  for (const stream of streams) {
    await stream.sees('the mark', events => last(events, room)?.data['read'] === 3)
    t.equal(unreadIn(stream, room), 2)
  }
  await change('PUT', `${room}/users/${bob}/read`, { seq: 9 }, other.url)
  for (const stream of streams) {
    await stream.sees('the mark', events => last(events, room)?.data['read'] === 5)
    t.equal(unreadIn(stream, room), 0)
  }
  for (const stream of streams) stream.close()
})

t.test('joining and leaving rooms is announced, and nothing comes after leaving', async t => {
  const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
  const [annStream, bobStream] = [open(t, ann), open(t, bob)]
  await Promise.all([annStream.isLive(), bobStream.isLive()])
  await add(room, bob, other.url)
  await bobStream.sees('the room', events => last(events, room) !== undefined)
  t.match(bobStream.events.at(-1), {
    event: 'room',
    data: { room, head: 0, read: 0, unread: 0, last: null }
  })
  await post(other.url, room, ann, 'hello')
  for (const stream of [annStream, bobStream]) {
    await stream.sees('the message', events => last(events, room)?.data['head'] === 1)
  }
  await change('DELETE', `${room}/users/${bob}`, undefined, other.url)
  await bobStream.sees('left', events => last(events, room)?.event === 'left')
  await post(other.url, room, ann, 'among ourselves')
  await annStream.sees('the message', events => last(events, room)?.data['head'] === 2)
  await post(url, freshRoom(), bob, 'elsewhere')
  await bobStream.sees('elsewhere', events => events.at(-1)?.event === 'room')
  t.notMatch(bobStream.text, /among ourselves/)
})

t.test('a client that resumes is sent what has changed since, and which rooms remain', async t => {
  const [quiet, busy, left, ann, bob] = [
    freshRoom(),
    freshRoom(),
    freshRoom(),
    freshUser(),
    freshUser()
  ]
  for (const room of [quiet, busy, left]) await add(room, bob)
  const first = open(t, bob)
  await first.isLive()
  const cursor = first.lastId
  t.match(cursor, /^\d{13}$/)
  first.close()
  await postMany(url, busy, ann, 2)
  await change('DELETE', `${left}/users/${bob}`, undefined, other.url)
  for (const [query, headers] of [
    [`?after=${cursor}`, {}],
    ['', { 'last-event-id': cursor }],
    [`?lastEventId=${cursor}&x=y`, {}]
  ] as const) {
    const resumed = open(t, bob, query, url, headers)
    await resumed.isLive()
    t.match(last(resumed.events, busy)?.data, { head: 2, unread: 2 })
    const { data } = resumed.events.at(-1) ?? {}
    t.strictSame(new Set(data?.['rooms'] as string[]), new Set([quiet, busy]))
  }
  // A cursor of a process whose clock is ahead says nothing of what was seen. (What a good cursor
  // leaves out is in unit/person: it takes ten minutes.)
  const later = open(t, bob, `?after=${Date.now() + 900_000}`)
  await later.isLive()
  t.strictSame(
    later.events.map(({ event }) => event),
    ['room', 'room', 'live']
  )
  await post(url, busy, ann, 'third')
  await later.sees('the third', events => last(events, busy)?.data['unread'] === 3)
})

t.test('a busy room causes a few events a second, and the last one is right', async t => {
  const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
  await add(room, bob)
  const stream = open(t, bob)
  await stream.isLive()
  const begunAt = performance.now()
  await Promise.all(
    sequence(1, 300).map(n => post(n % 2 === 0 ? url : other.url, room, ann, `text ${n}`))
  )
  await stream.sees('the last', events => last(events, room)?.data['head'] === 300)
  const seconds = (performance.now() - begunAt) / 1000
  t.equal(unreadIn(stream, room), 100)
  const told = stream.events.filter(({ event }) => event === 'room').length
  t.ok(told <= 4 * seconds + 3, `${told} events in ${seconds} s`)
})

t.test('a stream is refused for good only if asking again would not help', async t => {
  for (const [path, code] of [
    ['/users/%7B/events', 'INVALID_NAME'],
    ['/users/ann/events?after=x', 'INVALID_CURSOR'],
    ['/users/ann/events?after=1-2', 'INVALID_CURSOR']
  ] as const) {
    t.match(await request(`${url}${path}`), { status: 400, body: { code } })
  }
  const head = await fetch(`${url}/users/ann/events`, { method: 'HEAD' })
  t.equal(head.status, 200)
  const streams = sequence(1, 3).map(() => open(t, freshUser(), '', other.url))
  for (const stream of streams) await stream.isLive()
  const late = open(t, freshUser(), '', other.url)
  await until('it has ended', () => late.hasEnded)
  t.equal(late.status, 200)
  t.match(late.text, /^retry: \d+\n\n$/)
})
