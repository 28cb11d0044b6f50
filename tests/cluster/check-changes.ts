// The state that a crash between two steps of a change leaves, or a shard that lost data: the check
// finds it, and --repair fixes it.
import t, { type Test } from 'tap'
import { type FindingKind } from '../../src/cli/check/finding.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { isChange, parseReference } from '../../src/message/message.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, changedKey, logKey, roomSlot } from '../../src/store/keys.js'
import { CHANGE } from '../../src/store/block-scripts.js'
import { BlockWriter } from '../../src/store/block-writer.js'
import { Retention } from '../../src/store/retention.js'
import { checkRoom } from '../support/check-room.js'
import { freshRoom } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { append, openStore, readAll, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'

const embedded = await startCluster(t)
const open = (t: Test): Promise<TestStore> => openStore(t, embedded, {}, redisTarget(embedded.urls))

/** The findings, each as `<kind> <count>`; repaired ones are marked. */
async function check(opened: TestStore, room: string, isRepairing = false): Promise<string[]> {
  const { findings } = await checkRoom(opened, room, { isRepairing })
  const told: readonly FindingKind[] = [
    'orphan',
    'half-changed',
    'untold',
    'undone',
    'lost',
    'counter'
  ]
  return findings
    .filter(({ kind }) => told.includes(kind))
    .map(({ kind, count, mended }) => `${kind} ${count}${mended === count ? ' mended' : ''}`)
}

/** A room with a message of each kind: untouched, changed twice, deleted. */
async function roomOf({ store }: TestStore): Promise<string> {
  const room = freshRoom()
  for (const text of ['one', 'two', 'three', 'four']) await append(store, room, 'ann', text)
  const change = { room, author: undefined, once: undefined }
  await store.change({ ...change, seq: 2, text: 'second' })
  await store.change({ ...change, seq: 2, text: 'second again' })
  await store.change({ ...change, seq: 3, text: undefined })
  return room
}

async function placeOf(
  { store }: TestStore,
  room: string,
  seq: number
): Promise<{ tag: string; id: string; block: string; changed: string; slot: number }> {
  const [entry] = await store.log.range(room, seq, seq)
  const { tag, id } = parseReference(entry?.reference ?? '')
  const block = blockKey(room, tag)
  return { tag, id, block, changed: changedKey(block), slot: slotOf(block) }
}

t.test('changes are correct, and do not count as messages', async t => {
  const world = await open(t)
  const room = await roomOf(world)
  t.strictSame(await check(world, room), [])
  t.strictSame(await check(world, room, true), [])
  t.equal(await world.store.head(room), 7)
})

t.test('a change whose process died before announcing it is added to the log', async t => {
  const world = await open(t)
  const { cluster, store } = world
  const room = await roomOf(world)
  const { id, block, changed, slot } = await placeOf(world, room, 1)
  const apply = ['EVALSHA', CHANGE.sha, '2', block, changed, id, 'died', 'd', '', '1']
  await cluster.command(slot, apply)
  t.match(await readAll(store, room), { 0: { deleted: true } }, 'it is applied')
  t.strictSame(await check(world, room), ['untold 1'])
  t.strictSame(await check(world, room, true), ['untold 1 mended'])
  t.strictSame(await check(world, room), [])
  t.match((await readAll(store, room)).at(-1), { seq: 8, changes: 1, text: undefined })
})

t.test('a deletion whose process died is announced once, when it is repeated', async t => {
  const world = await open(t)
  const { cluster, store } = world
  const room = await roomOf(world)
  const { id, block, changed, slot } = await placeOf(world, room, 1)
  const now = String(Date.now())
  const apply = ['EVALSHA', CHANGE.sha, '2', block, changed, id, 'died', 'd', '', now]
  await cluster.command(slot, apply)
  const deletion = { room, seq: 1, text: undefined, author: undefined, once: undefined }
  t.match(await store.change(deletion), { seq: 8, changes: 1 })
  await t.rejects(store.change(deletion), { code: 'MESSAGE_DELETED' })
  t.equal(await store.head(room), 8)
  t.strictSame(await check(world, room), [])
})

/** Puts a text back into its block, as if somebody had restored an old copy. */
async function bringBack(world: TestStore, room: string, seq: number): Promise<void> {
  const { id, block, slot } = await placeOf(world, room, seq)
  // XRANGE returns entries.
  const rest = (await world.cluster.command(slot, ['XRANGE', block, '-', '+'])) as ReadonlyArray<
    readonly [string, readonly string[]]
  >
  await world.cluster.command(slot, ['DEL', block])
  for (const [other, fields] of [...rest, [id, ['t', 'text']] as const].sort(([a], [b]) =>
    a < b ? -1 : 1
  )) {
    await world.cluster.command(slot, ['XADD', block, other, ...fields])
  }
}

t.test('a deleted text that is back in its block is removed', async t => {
  const world = await open(t)
  const { store } = world
  const room = await roomOf(world)
  await bringBack(world, room, 3)
  t.strictSame(await check(world, room), ['half-changed 1'])
  t.strictSame(await check(world, room, true), ['half-changed 1 mended'])
  t.strictSame(await check(world, room), [])
  t.match(await readAll(store, room), { 2: { deleted: true } })
})

t.test('an orphan is removed, and the block still remembers what was deleted from it', async t => {
  const world = await open(t)
  const { cluster, store } = world
  const room = freshRoom()
  await append(store, room, 'ann', 'one')
  await store.change({ room, seq: 1, text: undefined, author: undefined, once: undefined })
  const { tag, id, block, slot } = await placeOf(world, room, 1)
  const orphan = String(await cluster.command(slot, ['XADD', block, '*', 't', 'orphan']))
  // The check looks at entries from before its first millisecond.
  await until('the orphan is old', () => Date.now() > Number(orphan.split('-')[0]))
  t.strictSame(await check(world, room), ['orphan 1'])
  t.strictSame(await check(world, room, true), ['orphan 1 mended'])
  t.strictSame(await check(world, room), [])
  t.equal(await cluster.command(slot, ['EXISTS', block]), 1)
  // Whoever wrote the message may still be putting its text back, up to a minute later.
  const deadline = performance.now() + 5000
  await new BlockWriter(cluster, store.log, {
    retention: new Retention(0, []),
    onFault: () => undefined
  }).ensure({ room, tag, id, text: 'one', deadline })
  t.equal(await cluster.command(slot, ['XLEN', block]), 0, 'the deleted text does not come back')
})

t.test('a deletion that the shard has lost is repeated', async t => {
  const world = await open(t)
  const { cluster, store } = world
  const room = await roomOf(world)
  const { id, changed, slot } = await placeOf(world, room, 4)
  await store.change({ room, seq: 4, text: undefined, author: undefined, once: undefined })
  await cluster.command(slot, ['HDEL', changed, id])
  t.match(await readAll(store, room), { 3: { lost: true }, 7: { changes: 4, text: undefined } })
  t.strictSame(await check(world, room), ['lost 1'], 'nothing of it is there')
  await bringBack(world, room, 4)
  t.strictSame(await check(world, room), ['undone 1'])
  t.strictSame(await check(world, room, true), ['undone 1 mended'])
  t.strictSame(await check(world, room), [])
  t.match(await readAll(store, room), { 3: { deleted: true } })
})

t.test('a change that the log has lost is found', async t => {
  const world = await open(t)
  const { cluster, store } = world
  const room = await roomOf(world)
  await cluster.command(roomSlot(room), ['XDEL', logKey(room), '0-7'])
  t.strictSame(await check(world, room), ['untold 1'])
  t.strictSame(await check(world, room, true), ['untold 1 mended'])
  t.ok((await readAll(store, room)).some(entry => isChange(entry) && entry.changes === 3))
  t.notOk((await everythingIn(embedded)).includes('"three"'))
})
