// Rooms are deleted while their slot is half-moved, and while the master of their log or of a block
// dies. A client that repeats the request gets a 200 in the end, and the texts are nowhere, even
// after the dead node is back.
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { finishHalfMoved } from '../../src/cli/cluster/half-moved.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import {
  blockKey,
  logKey,
  roomSlot,
  unfinishedKey,
  unfinishedPlace,
  usersKey
} from '../../src/store/keys.js'
import { Operator } from '../drills/operator.js'
import { freshRoom, post, readAll, request, sequence, type Answer } from '../support/client.js'
import { dyingStore } from '../support/dying-store.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { openStore } from '../support/store.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const operator = new Operator(cluster)
const env = { SEGMENT_LENGTH: '16', BLOCK_LENGTH: '10', STORE_DEADLINE_MS: '3000' }
const services = await Promise.all(
  [0, 1].map(() => startService(t, { redisNodes: cluster.urls, env }))
)
const [one, two] = services.map(({ url }) => url) as [string, string]

const deleteRoom = (url: string, room: string): Promise<Answer> =>
  request(`${url}/rooms/${room}`, { method: 'DELETE' })

type Filled = { readonly room: string; readonly secret: string; readonly users: readonly string[] }

async function fill(): Promise<Filled> {
  const room = freshRoom()
  const secret = `secret-${randomUUID()}`
  const users = sequence(1, 6).map(n => `user-${n}-${randomUUID().slice(0, 8)}`)
  await Promise.all(
    users.map(async user => {
      for (const n of sequence(1, 12)) await post(n % 2 === 0 ? one : two, room, user, secret)
    })
  )
  return { room, secret, users }
}

async function isUnseen(t: Test, { room, users }: Filled): Promise<void> {
  for (const url of [one, two]) {
    t.strictSame(await readAll(url, room), [])
    for (const user of users) {
      t.match(await request(`${url}/users/${user}/rooms`), { body: { rooms: [] } })
    }
  }
}

async function isNowhere(t: Test, filled: Filled): Promise<void> {
  await isUnseen(t, filled)
  t.notOk((await everythingIn(cluster)).includes(filled.secret), 'in no key of any node')
}

t.test('a service finishes a deletion that a dead process started, and tells readers', async t => {
  const filled = await fill()
  const { room, users } = filled
  const reader = openSse(t, `${one}/rooms/${room}/events?last=0`)
  const person = openSse(t, `${two}/users/${users[0]}/events`)
  await reader.isLive()
  await person.isLive()
  const shape = { segmentLength: 16, blockLength: 10 }
  const healthy = await openStore(t, cluster, shape, redisTarget(cluster.urls))
  // Listed and marked, and nobody was told.
  const { store, hasDied } = dyingStore(healthy.cluster, 2, shape)
  store.deletions.delete(room).catch(() => undefined)
  await hasDied
  t.ok((await everythingIn(cluster)).includes(filled.secret))
  const key = unfinishedKey(unfinishedPlace(room))
  await healthy.cluster.command(slotOf(key), ['ZADD', key, '1', room])
  await until(
    'it is taken from the list',
    async () => (await healthy.cluster.command(slotOf(key), ['ZSCORE', key, room])) === null
  )
  await isNowhere(t, filled)
  await reader.sees('the deletion', events =>
    events.some(({ event, data }) => event === 'reset' && data['reason'] === 'deleted')
  )
  await person.sees('that it is gone', events => events.at(-1)?.event === 'left')
})

for (const what of ['log', 'users'] as const) {
  t.test(
    `a room is deleted while its slot is half-moved, the key of its ${what} first`,
    async t => {
      const filled = await fill()
      const { room } = filled
      const admin = await Admin.connect(redisTarget(cluster.urls))
      t.teardown(() => {
        admin.close()
      })
      const slot = roomSlot(room)
      const map = await admin.look()
      const owner = map.nodes.get(map.ownerOf(slot) ?? '')
      const other = map.masters.find(({ id }) => id !== owner?.id)
      if (owner === undefined || other === undefined) throw new Error('no two masters')
      await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
      await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
      const key = what === 'log' ? logKey(room) : usersKey(room)
      await admin.ask(owner, 'MIGRATE', '127.0.0.1', String(other.address.port), key, '0', '1000')

      const refused = await deleteRoom(one, room)
      t.match(refused, { status: 503 }, 'it is not half-deleted')
      t.equal((await readAll(two, room)).length, 72)
      const deleting = deleteRoom(two, room)
      await finishHalfMoved(admin)
      const answer = await deleting
      const { status } = answer.status === 200 ? answer : await deleteRoom(two, room)
      t.equal(status, 200)
      await until('it is clean', async () => (await deleteRoom(one, room)).body['done'] === true)
      await isNowhere(t, filled)
    }
  )
}

for (const [what, slotIn] of [
  ['its log', ({ room }: Filled) => roomSlot(room)],
  ['a block', ({ room, users }: Filled) => slotOf(blockKey(room, `${users[0]}.0`))]
] as const) {
  t.test(`the master of ${what} dies while the room is deleted, and comes back`, async t => {
    const filled = await fill()
    const { room } = filled
    const slot = slotIn(filled)
    const master = (await operator.masters()).find(({ node }) =>
      node.slots.some(([from, to]) => from <= slot && slot <= to)
    )?.process
    if (master === undefined) throw new Error(`nobody owns slot ${slot}`)
    const deleting = deleteRoom(one, room).catch(() => undefined)
    await master.kill('SIGKILL')
    t.comment(`answered ${(await deleting)?.status}`)
    await until('it is deleted', async () => {
      const { status, body } = await deleteRoom(two, room)
      return status === 200 && body['done'] === true
    })
    await until('its replica has taken over', async () =>
      (await operator.masters()).every(({ process }) => process !== master)
    )
    await isUnseen(t, filled)
    await master.start()
    await operator.untilHealthy()
    await isNowhere(t, filled)
    await post(one, room, 'zoe', 'a new life')
    t.match(await readAll(two, room), [{ text: 'a new life' }])
  })
}
