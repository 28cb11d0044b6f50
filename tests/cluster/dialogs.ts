// Members of rooms and a person's list of dialogs, over HTTP, with two processes of one cluster.
import t from 'tap'
import { type Answer, freshRoom, post, postMany, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'

const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls })
const other = await startService(t, { redisNodes: cluster.urls })

let names = 0
const freshUser = (): string => `user-${++names}`
const memberUrl = (room: string, user: string, base = url): string =>
  `${base}/rooms/${encodeURIComponent(room)}/users/${encodeURIComponent(user)}`

const add = (room: string, user: string, base = url): Promise<Answer> =>
  request(memberUrl(room, user, base), { method: 'PUT' })
const remove = (room: string, user: string, base = url): Promise<Answer> =>
  request(memberUrl(room, user, base), { method: 'DELETE' })
const markRead = (room: string, user: string, seq: unknown, base = url): Promise<Answer> =>
  request(`${memberUrl(room, user, base)}/read`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ seq })
  })
const list = async (user: string, query = '', base = url): Promise<Answer> =>
  await request(`${base}/users/${encodeURIComponent(user)}/rooms${query}`)

type Listed = { room: string; head: number; read: number; unread: number; last: unknown }
// DialogsAnswer in src/routes/schemas.ts.
const roomsOf = ({ body }: Answer): Listed[] => body['rooms'] as Listed[]
const namesOf = (answer: Answer): string[] => roomsOf(answer).map(({ room }) => room)
const usersOf = async (room: string): Promise<unknown> =>
  (await request(`${url}/rooms/${encodeURIComponent(room)}/users`)).body['users']

t.test('an invited user is a member without messages, and sees the room', async t => {
  const [room, user] = [freshRoom(), freshUser()]
  t.match(await add(room, user), { status: 201, body: { room, user, member: true } })
  t.match(await add(room, user, other.url), { status: 200, body: { room, user, member: true } })
  t.strictSame(await usersOf(room), [{ user, messages: 0 }])
  t.match((await list(user)).body, {
    user,
    cursor: /^\d{13}$/,
    rooms: [{ room, head: 0, read: 0, unread: 0, last: null }],
    next: null
  })
})

t.test('a writer becomes a member, and sees the room at once', async t => {
  const [room, user] = [freshRoom(), freshUser()]
  const { body } = await post(url, room, user, 'hello')
  t.strictSame(roomsOf(await list(user)), [{ room, head: 1, read: 0, unread: 0, last: body }])
})

t.test('a removed user is not in the room until they write or are invited', async t => {
  const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
  await postMany(url, room, ann, 2)
  await add(room, bob)
  t.match(await remove(room, bob, other.url), {
    status: 200,
    body: { room, user: bob, member: false }
  })
  t.strictSame(namesOf(await list(bob)), [])
  t.strictSame(await usersOf(room), [{ user: ann, messages: 2 }])
  t.equal((await remove(room, ann)).status, 200)
  t.equal((await remove(room, ann)).status, 200, 'the second time, it changes nothing')
  t.strictSame(await usersOf(room), [])
  t.strictSame(namesOf(await list(ann)), [])

  await post(url, room, bob, 'back')
  t.strictSame(await usersOf(room), [{ user: bob, messages: 1 }])
  t.strictSame(namesOf(await list(bob)), [room])
  await add(room, ann)
  t.strictSame(await usersOf(room), [
    { user: ann, messages: 2 },
    { user: bob, messages: 1 }
  ])
})

t.test(
  'the unread messages are those of others after the mark, counted exactly up to 99',
  async t => {
    const [room, ann, bob] = [freshRoom(), freshUser(), freshUser()]
    await add(room, bob)
    const unread = async (): Promise<unknown> => roomsOf(await list(bob))[0]?.unread
    await postMany(url, room, ann, 98)
    t.equal(await unread(), 98)
    await post(url, room, bob, 'my own')
    t.equal(await unread(), 98)
    await post(url, room, ann, '99th')
    t.equal(await unread(), 99)
    await post(url, room, ann, '100th')
    t.equal(await unread(), 100)
    await post(url, room, ann, '101st')
    t.equal(await unread(), 100)
    t.match((await markRead(room, bob, 2)).body, { room, head: 102, read: 2, unread: 99 })
    t.match(
      (await markRead(room, bob, 1)).body,
      { read: 2, unread: 99 },
      'the mark never moves back'
    )
    t.match((await markRead(room, bob, 100, other.url)).body, { read: 100, unread: 2 })
    t.match((await markRead(room, bob, 1000)).body, { read: 102, unread: 0 }, 'nor beyond the head')
    t.match(roomsOf(await list(bob, '', other.url)), [{ room, read: 102, unread: 0 }])
  }
)

t.test('a mark is refused if there is nothing to mark', async t => {
  const [room, user] = [freshRoom(), freshUser()]
  t.match(await markRead(room, user, 1), { status: 404, body: { code: 'NOT_A_MEMBER' } })
  await add(room, user)
  t.match(await markRead(room, user, 1), { status: 200, body: { read: 0 } })
  for (const seq of [-1, 1.5, '1', null, 1e15, undefined]) {
    t.match(await markRead(room, user, seq), { status: 400, body: { code: 'INVALID_BODY' } })
  }
})

t.test('the newest activity comes first, page by page', async t => {
  const user = freshUser()
  const rooms = sequence(1, 12).map(() => freshRoom())
  for (const room of rooms) await add(room, user)
  t.strictSame(namesOf(await list(user)), rooms.toReversed())
  const [oldest = '', second = ''] = rooms
  await post(url, oldest, freshUser(), 'news')
  // The order of heads that were just read may be two seconds old. Another process has not read it.
  t.strictSame(namesOf(await list(user, '?limit=2', other.url)), [oldest, rooms.at(-1)])
  await markRead(second, user, 0)

  const seen: string[] = []
  let before: unknown
  while (before !== null) {
    const page = await list(
      user,
      `?limit=5${before === undefined ? '' : `&before=${encodeURIComponent(String(before))}`}`,
      other.url
    )
    t.ok(roomsOf(page).length <= 5)
    seen.push(...namesOf(page))
    before = page.body['next']
  }
  t.strictSame(seen, [oldest, ...rooms.slice(1).reverse()])
})

t.test('a page has 1 to 1000 dialogs; only cursors from a page are accepted', async t => {
  const user = freshUser()
  for (const limit of ['1', '1000']) t.equal((await list(user, `?limit=${limit}`)).status, 200)
  for (const limit of ['0', '1001', 'x', '-1', '']) {
    t.match(await list(user, `?limit=${limit}`), { status: 400, body: { code: 'INVALID_QUERY' } })
  }
  for (const before of ['', '1', 'x1-room', 'a-room', 'a1-']) {
    t.match(await list(user, `?before=${before}`), {
      status: 400,
      body: { code: 'INVALID_CURSOR' }
    })
  }
  t.match(await list(user, '?after=1'), { status: 400, body: { code: 'INVALID_QUERY' } })
})

t.test('names are checked', async t => {
  for (const name of ['%7B', '%00', '%20a', 'a%CC', 'x'.repeat(65)]) {
    for (const [method, path] of [
      ['PUT', `/rooms/${name}/users/ann`],
      ['PUT', `/rooms/room/users/${name}`],
      ['DELETE', `/rooms/room/users/${name}`],
      ['GET', `/users/${name}/rooms`]
    ] as const) {
      const { status } = await request(`${url}${path}`, { method })
      t.equal(status, 400, `${method} ${path}`)
    }
  }
})
