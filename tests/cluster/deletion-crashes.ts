// A process that dies between any two steps of a deletion, and what arrives late from processes
// that had begun before: no reader sees anything of it, the check finds what is left in keys, and
// --repair or a repetition takes it away.
import { strict as assert } from 'node:assert'
import t from 'tap'
import { RoomCheck } from '../../src/cli/check/room-check.js'
import { findKeys } from '../../src/cli/check/survey.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import { parseReference } from '../../src/message/message.js'
import { blockKey, changedKey, segmentKey } from '../../src/store/keys.js'
import { freshRoom, sequence } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { dyingStore } from '../support/dying-store.js'
import { append, openStore, readAll } from '../support/store.js'

const SHAPE = { segmentLength: 4, blockLength: 5 }
const STEPS_MAX = 60

const embedded = await startCluster(t)
const healthy = await openStore(t, embedded, SHAPE, redisTarget(embedded.urls))
const other = await openStore(t, embedded, SHAPE)
const ignore = (): void => undefined

const dying = (writes: number): ReturnType<typeof dyingStore> =>
  dyingStore(healthy.cluster, writes, SHAPE)

/** What is found, each as `<kind> <how many>`; what was mended is marked. */
async function check(room: string, isRepairing = false): Promise<string[]> {
  const keys = (await findKeys(healthy.cluster, [room])).get(room)
  assert.ok(keys)
  const { findings } = await new RoomCheck(healthy.cluster, healthy.store.log, room, keys, {
    clean: room => healthy.store.deletions.clean(room),
    isRepairing,
    orphanAgeMs: 0,
    // What is a moment old counts.
    settleMs: -1000,
    referencesMax: 1_000_000,
    onProgress: ignore
  }).run()
  return findings.map(
    ({ kind, count, mended }) => `${kind} ${count}${mended === count ? ' mended' : ''}`
  )
}

async function fill(room: string, secret: string): Promise<void> {
  for (const n of sequence(1, 12)) {
    await append(
      n % 2 === 0 ? healthy.store : other.store,
      room,
      n % 3 === 0 ? `bob ${room}` : `ann ${room}`,
      `${secret} ${n}`
    )
  }
  const change = { room, author: undefined, once: undefined }
  await healthy.store.change({ ...change, seq: 2, text: `${secret} changed` })
  await healthy.store.members.join(room, 'eve')
  await healthy.store.settled()
  await other.store.settled()
}

t.test('the process dies after each of its writes', async t => {
  let writes = 0
  for (; writes < STEPS_MAX; writes++) {
    const room = freshRoom()
    const secret = `secret of ${room}`
    await fill(room, secret)
    const { store, hasDied } = dying(writes)
    const deletion = store.deletions.delete(room).then(() => store.settled())
    const isOver = await Promise.race([deletion.then(() => true), hasDied.then(() => false)])
    if (writes > 0) {
      t.strictSame(await readAll(other.store, room), [], `after ${writes} writes nobody reads it`)
      t.equal(await other.store.head(room), 14)
      t.equal((await other.store.users.page(room, undefined, 10)).total, 0)
      const { dialogs } = await other.store.inbox.page('eve', undefined, 1000, 1e7)
      t.notOk(dialogs.some(dialog => dialog.room === room))
    }
    const found = await check(room)
    if (isOver) t.strictSame(found, [], 'nothing is left')
    else if (writes > 0) {
      t.match(found.join(), /half-deleted 1/, `after ${writes} writes it is found`)
    }
    // In turn: mended, deleted once more, and begun anew before.
    if (writes % 3 === 2) await append(other.store, room, 'ann', 'a new life')
    if (writes > 0 && writes % 3 !== 1) await check(room, true)
    else t.match(await other.store.deletions.delete(room), { isClean: true })
    t.strictSame(await check(room), [], `after ${writes} writes it is mended`)
    t.notOk((await everythingIn(embedded)).includes(secret), 'in every key')
    t.strictSame(
      (await readAll(healthy.store, room)).map(entry => 'text' in entry && entry.text),
      writes % 3 === 2 ? ['a new life'] : []
    )
    if (isOver) break
  }
  t.ok(writes > 8 && writes < STEPS_MAX, `${writes} writes`)
})

t.test('what comes late from a former life', async t => {
  const room = freshRoom()
  const secret = `secret of ${room}`
  await fill(room, secret)
  const [entry] = await healthy.store.log.range(room, 10, 10)
  const { tag, id } = parseReference(entry?.reference ?? '')
  await healthy.store.deletions.delete(room)
  const key = blockKey(room, tag)

  // A text that a failover took, which its writer puts back.
  await other.store.appender.ensure(room, tag, id, secret, performance.now() + 5000)
  t.strictSame(await check(room), [])
  // A process that died before it took out what it had appended; a change; a segment.
  const write = (key: string, ...args: string[]): Promise<unknown> =>
    healthy.cluster.command(slotOf(key), args)
  await write(key, 'XADD', key, id, 't', secret)
  await write(changedKey(key), 'HSET', changedKey(key), '5-5', `1 5 token t${secret}`)
  const segment = segmentKey(room, 0)
  await write(segment, 'XADD', segment, '0-1', 'r', `${tag}/${id}`)
  t.strictSame(await check(room), ['leftover 3'])
  t.strictSame(await readAll(other.store, room), [])
  t.strictSame(await check(room, true), ['leftover 3 mended'])
  t.strictSame(await check(room), [])
  t.notOk((await everythingIn(embedded)).includes(secret))
})

t.test('a large room, whose users and whoever left are in parts', async t => {
  const room = freshRoom()
  for (const n of sequence(1, 30)) await append(healthy.store, room, `user ${n}`, 'hello')
  await healthy.store.settled()
  await healthy.store.users.split(room)
  t.match(await other.store.deletions.delete(room), { isClean: true })
  t.equal((await healthy.store.users.page(room, undefined, 100)).total, 0)
  t.strictSame(await check(room), [])
  t.notOk((await everythingIn(embedded)).includes(`${room}}:users`), 'no part is left')
})
