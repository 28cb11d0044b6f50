// A person in very many rooms. The list is split into parts of bounded size and read page by page
// in its order, and none of this holds up the shard. With DIALOGS_ROOMS=100000 it takes a minute.
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { Dialogs } from '../../src/store/dialogs.js'
import {
  DIALOGS_PARTS,
  dialogsKey,
  dialogsPart,
  dialogsPartKey,
  readKey,
  readPartKey,
  roomSlot,
  userSlot
} from '../../src/store/keys.js'
import { ReadMarks } from '../../src/store/read-marks.js'
import { connect } from '../../src/embedded/connection.js'
import { sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { append, openStore } from '../support/store.js'
import { until } from '../support/until.js'

const ROOMS = Number(process.env['DIALOGS_ROOMS'] ?? 5000)
const SMALL_MAX = 3000
const BULK = 500
const KEY_BYTES_MAX = 2 * 1024 * 1024

const cluster = await startCluster(t)
const { store, cluster: connected } = await openStore(t, cluster)
const faults: unknown[] = []
const marks = new ReadMarks(connected, error => faults.push(error))
const dialogs = new Dialogs(connected, marks, error => faults.push(error))

// 64 code points of four bytes each, except for the number: the longest possible names.
const longRoom = (n: number): string => `${String(n).padStart(6, '0')}${'𝒳'.repeat(58)}`
const soon = (): number => performance.now() + 10_000
const tell = (user: string, ...words: string[]): Promise<unknown> =>
  connected.command(userSlot(user), words)

/** Puts rooms into the first key, as they are just before the split. */
async function fill(user: string, rooms: readonly string[]): Promise<void> {
  for (let from = 0; from < rooms.length; from += BULK) {
    const some = rooms.slice(from, from + BULK)
    const scores = some.flatMap((room, index) => [String(from + index + 1), room])
    await tell(user, 'ZADD', dialogsKey(user), ...scores)
    await tell(user, 'HSET', readKey(user), ...some.flatMap(room => [room, '7-1']))
  }
}

t.test('3,000 rooms fit in one key, and one more splits it; nothing is lost', async t => {
  const user = 'at the limit'
  const rooms = sequence(1, SMALL_MAX - 1).map(longRoom)
  await fill(user, rooms)
  await dialogs.add(user, longRoom(SMALL_MAX), SMALL_MAX, soon())
  await dialogs.settled()
  t.equal(await tell(user, 'ZCARD', dialogsKey(user)), SMALL_MAX)
  await dialogs.add(user, longRoom(SMALL_MAX + 1), SMALL_MAX + 1, soon())
  await dialogs.settled()
  t.equal(await tell(user, 'ZCARD', dialogsKey(user)), 1, 'only the mark')
  t.strictSame(
    (await dialogs.newest(user, 10_000)).map(({ room }) => room),
    sequence(1, SMALL_MAX + 1)
      .reverse()
      .map(longRoom)
  )
  await marks.mark(user, longRoom(SMALL_MAX), { seq: 7, ms: 1 }, soon())
  await marks.mark(user, longRoom(SMALL_MAX + 1), { seq: 9, ms: 1 }, soon())
  await marks.settled()
  t.equal(await tell(user, 'HLEN', readKey(user)), 1, 'only the mark')
  const read = await marks.many(user, sequence(1, SMALL_MAX + 1).map(longRoom))
  t.equal(read.filter(({ seq }) => seq === 7).length, SMALL_MAX)
  t.equal(read.at(-1)?.seq, 9)
  t.strictSame(faults, [])
})

t.test('an interrupted split leaves a valid list, and the next write continues it', async t => {
  const user = 'interrupted'
  const rooms = sequence(1, 4000).map(n => `room ${n}`)
  await fill(user, rooms)
  // The mark is set, and one room is in both keys: the later time counts.
  await tell(user, 'ZADD', dialogsKey(user), '9000000000000000', '{parts}')
  await dialogs.add(user, 'room 1', 5000, soon())
  t.equal(await dialogs.get(user, 'room 1'), 5000)
  t.strictSame(
    (await dialogs.newest(user, 2)).map(({ room }) => room),
    ['room 1', 'room 4000']
  )
  await dialogs.settled()
  t.strictSame(
    (await dialogs.newest(user, 2)).map(({ room }) => room),
    ['room 1', 'room 4000']
  )
  t.equal((await dialogs.newest(user, 10_000)).length, 4000)
  t.equal(await dialogs.remove(user, 'room 1', soon()), true)
  t.equal(await dialogs.remove(user, 'room 1', soon()), false)
  t.equal(await dialogs.get(user, 'room 1'), undefined)
})

t.test('a full part accepts no new rooms, but still updates those that it has', async t => {
  const user = 'full'
  const room = 'the room'
  await tell(user, 'ZADD', dialogsKey(user), '9000000000000000', '{parts}')
  const part = dialogsPartKey(user, dialogsPart(room))
  const filling = (from: number, to: number): Promise<unknown> =>
    tell(user, 'ZADD', part, ...sequence(from, to).flatMap(n => ['1', `filling ${n}`]))
  for (let from = 1; from <= 3999; from += BULK) {
    await filling(from, Math.min(3999, from + BULK - 1))
  }
  t.equal(await dialogs.add(user, room, 1, soon()), true)
  t.equal(await dialogs.add(user, room, 2, soon()), false)
  await tell(user, 'ZREM', part, room)
  await filling(4000, 4000)
  await t.rejects(dialogs.add(user, room, 3, soon()), { code: 'TOO_MANY_ROOMS' })
  await t.rejects(store.members.join(room, user), { code: 'TOO_MANY_ROOMS' })
  t.equal(await store.users.get(room, user), undefined, 'and nobody became a member')
})

t.test(`a person in ${ROOMS} rooms: bounded keys, pages in order, no stall`, async t => {
  const user = 'celebrity'
  const rooms = sequence(1, ROOMS).map(longRoom)
  await fill(user, rooms.slice(0, SMALL_MAX))
  // The longest that another user's command on the same shard had to wait.
  const node = connected.topology.ownerOf(userSlot(user)) ?? ''
  const client = await connect(`redis://${node}`)
  t.teardown(() => client.disconnect())
  let stalledMs = 0
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      const at = performance.now()
      await client.sendCommand(['PING'])
      stalledMs = Math.max(stalledMs, performance.now() - at)
    }
  })()
  await client.sendCommand(['CONFIG', 'SET', 'slowlog-log-slower-than', '50000'])
  await client.sendCommand(['SLOWLOG', 'RESET'])
  for (let from = SMALL_MAX; from < ROOMS; from += BULK) {
    await Promise.all(
      rooms
        .slice(from, from + BULK)
        .map((room, index) => dialogs.add(user, room, from + index + 1, soon()))
    )
  }
  await dialogs.settled()
  const first = await store.inbox.page(user, undefined, 50, 1e6)
  t.strictSame(first.dialogs, [], 'somebody who is not a member sees none of them')
  const newest = await dialogs.newest(user, 1000)
  t.strictSame(
    newest.map(({ room }) => room),
    rooms.slice(-1000).reverse()
  )
  const seen: string[] = []
  for (let before = newest.at(-1); before !== undefined;) {
    const page = await dialogs.newest(user, 1000, before)
    seen.push(...page.map(({ room }) => room))
    before = page.at(-1)
  }
  t.strictSame(seen, rooms.slice(0, -1000).reverse())
  over.abort()
  await watching
  t.strictSame(await client.sendCommand(['SLOWLOG', 'GET']), [], 'no command takes 50 ms')
  t.comment(`the longest wait of a PING beside it: ${stalledMs.toFixed(1)} ms`)
  let largest = 0
  for (let part = 0; part < DIALOGS_PARTS; part++) {
    for (const key of [dialogsPartKey(user, part), readPartKey(user, part)]) {
      const bytes = await tell(user, 'MEMORY', 'USAGE', key, 'SAMPLES', '0').catch(() => 0)
      largest = Math.max(largest, Number(bytes ?? 0))
    }
  }
  t.ok(largest < KEY_BYTES_MAX, `the largest key has ${largest} bytes`)
})

t.test(
  'somebody who is invited to and writes in many rooms sees them page by page, the newest first',
  async t => {
    const user = 'somebody'
    const rooms = sequence(1, 130).map(n => `many ${n}`)
    for (const room of rooms) await store.members.join(room, user)
    await append(store, 'many 7', 'another', 'hello')
    const seen: string[] = []
    let before: string | undefined
    do {
      const page = await store.inbox.page(user, before, 20, 1e6)
      t.ok(page.dialogs.length <= 20)
      seen.push(...page.dialogs.map(({ room }) => room))
      before = page.next
    } while (before !== undefined)
    t.strictSame(new Set(seen), new Set(rooms))
    t.equal(seen.length, rooms.length)
    await until('the room with news is the first', async () => {
      const { dialogs } = await store.inbox.page(user, undefined, 1, 1e6)
      return dialogs[0]?.room === 'many 7'
    })
  }
)

t.test('while a slot is half-moved, people are invited and mark what they have read', async t => {
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  const map = await admin.look()
  const [room, user] = ['half-moved', 'mover']
  await append(store, room, 'ann', 'hello')
  for (const slot of [roomSlot(room), userSlot(user)]) {
    const owner = map.masterNamed(map.ownerOf(slot) ?? '')
    const other = map.masters.find(({ id }) => id !== owner.id)
    if (other === undefined) throw new Error('The cluster has no two masters')
    const setSlot = (node: typeof owner, ...words: string[]): Promise<unknown> =>
      admin.ask(node, 'CLUSTER', 'SETSLOT', String(slot), ...words)
    await setSlot(other, 'IMPORTING', owner.id)
    await setSlot(owner, 'MIGRATING', other.id)
    t.teardown(async () => {
      await setSlot(owner, 'STABLE')
      await setSlot(other, 'STABLE')
    })
  }
  t.equal(await store.members.join(room, user), true)
  t.match(await store.inbox.markRead(user, room, 1), { read: 1, unread: 0 })
  t.match(await store.inbox.page(user, undefined, 50, 1e6), { dialogs: [{ room, read: 1 }] })
})
