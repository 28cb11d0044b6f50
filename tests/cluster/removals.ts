// A member who never stops writing and inviting while they are removed. What was on its way at that
// moment has passed the check of its right, and would make them a member again. It is refused in
// the very step that would do it, and nobody else's message suffers.
import t from 'tap'
import { signToken } from '../../src/cli/sign-token.js'
import { NotMembers } from '../../src/store/members.js'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { append, openStore, readAll } from '../support/store.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
const ROUNDS = 12
const LANES = 12

const cluster = await startCluster(t)
const env = { AUTH_JWT_SECRET: SECRET }
const services = [
  await startService(t, { redisNodes: cluster.urls, env }),
  await startService(t, { redisNodes: cluster.urls, env })
]
const url = services[0]?.url ?? ''
const { store } = await openStore(t, cluster)

const bearerOf = async (
  token: Parameters<typeof signToken>[1]
): Promise<Record<string, string>> => ({
  authorization: `Bearer ${await signToken(SECRET, token)}`
})
const admin = await bearerOf({ isAdmin: true, ttlS: 600 })
const ann = await bearerOf({ user: 'ann', read: ['member'], write: ['member'], ttlS: 600 })

t.test('whoever is removed stays removed, however fast they write and invite', async t => {
  let refused = 0
  for (const round of sequence(1, ROUNDS)) {
    const room = freshRoom()
    const path = `/rooms/${room}/users/ann`
    await request(url + path, { method: 'PUT', headers: admin })
    let written = 0
    const flood = { isOver: false }
    const lanes = sequence(1, LANES).map(async lane => {
      for (let n = 0; !flood.isOver; n++) {
        const base = services[n % 2]?.url ?? url
        const key = lane % 3 === 1 ? { 'idempotency-key': `${room}-${lane}-${n}` } : {}
        const { status } =
          lane % 3 === 0
            ? await request(base + path, { method: 'PUT', headers: ann })
            : await post(base, room, 'ann', `${lane} ${n}`, { ...ann, ...key })
        if (status === 403) refused++
        else if (status === 200 || status === 201) written++
        else t.fail(`answered ${status}`)
        // Refused for good: it was on its way, or came later.
        if (status === 403) return
      }
    })
    await until('they write', () => written > LANES * 2)
    const removal = await request(url + path, { method: 'DELETE', headers: admin })
    t.equal(removal.status, 200)
    const { body } = await request(`${url}/rooms/${room}/messages?limit=1`, { headers: admin })
    await until('everybody is refused', () => refused === round * LANES).catch(() => undefined)
    flood.isOver = true
    await Promise.all(lanes)
    t.equal(refused, round * LANES, 'each lane is refused in the end')
    for (const { url } of services) {
      const page = await request(`${url}/rooms/${room}/messages`, { headers: ann })
      t.match(page, { status: 403, body: { code: 'FORBIDDEN' } }, 'they cannot read')
      t.match(await request(`${url}/users/ann/rooms`, { headers: ann }), { body: { rooms: [] } })
    }
    t.match(await request(`${url}/rooms/${room}/users`, { headers: admin }), {
      body: { total: 0, users: [] }
    })
    t.equal(await store.head(room), body['head'], 'nothing was written after the removal')
  }
})

t.test('a message is refused if its user is no member any more, and leaves no text', async t => {
  const room = freshRoom()
  await append(store, room, 'bob', 'hello')
  for (const once of [undefined, 'a key']) {
    const text = `secret of ${room} ${once}`
    await t.rejects(store.append({ room, user: 'ann', text, once, asMember: true }), {
      code: 'FORBIDDEN'
    })
    await until('its text is gone', async () => !(await everythingIn(cluster)).includes(text))
  }
  t.equal(await store.head(room), 1)
  await store.members.join(room, 'ann')
  for (const once of [undefined, 'a key']) {
    await store.append({ room, user: 'ann', text: 'hi', once, asMember: true })
  }
  t.equal(await store.users.get(room, 'ann'), 2)
})

t.test('messages of others in the same group are committed', async t => {
  const room = freshRoom()
  await append(store, room, 'bob', 'first')
  await store.members.join(room, 'carl')
  for (const isSplit of [false, true]) {
    if (isSplit) await store.users.split(room)
    const head = await store.head(room)
    const write = (user: string, n: number, asMember: boolean): Promise<unknown> =>
      store
        .append({ room, user, text: `${user} ${n}`, once: undefined, asMember })
        .catch((error: unknown) => error)
    const outcomes = await Promise.all(
      sequence(1, 20).flatMap(n => [
        write('ann', n, true),
        write('bob', n, false),
        write('carl', n, true),
        write(`new ${isSplit}`, n, n !== 10)
      ])
    )
    t.equal(outcomes.filter(outcome => outcome instanceof NotMembers).length >= 20, true)
    const entries = (await readAll(store, room)).slice(head) as ReadonlyArray<{ user: string }>
    const of = (name: string): number => entries.filter(({ user }) => user === name).length
    t.equal(of('ann'), 0)
    t.equal(of('bob'), 20)
    t.equal(of('carl'), 20)
    t.ok(of(`new ${isSplit}`) >= 1, 'whoever may write in any case becomes a member')
    t.equal(await store.users.get(room, 'ann'), undefined)
    t.equal(await store.users.get(room, 'carl'), isSplit ? 40 : 20)
  }
})

t.test('an invitation needs its inviter to be a member at that moment', async t => {
  const room = freshRoom()
  await store.members.join(room, 'carl')
  for (const isSplit of [false, true]) {
    if (isSplit) await store.users.split(room)
    await t.rejects(store.members.join(room, 'ann', 'ann'), { code: 'FORBIDDEN' })
    await t.rejects(store.members.join(room, 'eve', 'ann'), { code: 'FORBIDDEN' })
    t.equal(await store.users.get(room, 'eve'), undefined)
    t.equal(await store.members.join(room, 'dan', 'carl'), !isSplit)
  }
})
