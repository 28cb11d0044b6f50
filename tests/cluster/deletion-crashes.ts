// A process dies between any two steps of a deletion, or writes of processes that started earlier
// arrive late. No reader sees anything of it. The check finds what remains in keys, and --repair or
// a repeated deletion removes it.
import t from 'tap'
import { redisTarget } from '../../src/config/redis-target.js'
import { readConfig } from '../../src/config.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { slotOf } from '../../src/redis/slots.js'
import { parseReference } from '../../src/message/message.js'
import {
  blockKey,
  changedKey,
  goneKey,
  roomSlot,
  segmentKey,
  unfinishedKey,
  unfinishedPlace
} from '../../src/store/keys.js'
import { CLEANED } from '../../src/store/log-scripts.js'
import { Store } from '../../src/store/store.js'
import { checkRoom } from '../support/check-room.js'
import { freshRoom, sequence } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { dyingStore } from '../support/dying-store.js'
import { append, openStore, readAll } from '../support/store.js'
import { until } from '../support/until.js'

const SHAPE = { segmentLength: 4, blockLength: 5 }
const STEPS_MAX = 60
const WAYS = ['mended', 'deleted again', 'begun anew', 'finished'] as const

const embedded = await startCluster(t)
const healthy = await openStore(t, embedded, SHAPE, redisTarget(embedded.urls))
const other = await openStore(t, embedded, SHAPE)
const finisher = await openStore(t, embedded, { ...SHAPE, deletionClaimMs: 100 })
const ignore = (): void => undefined

const unfinishedOf = (room: string): string => unfinishedKey(unfinishedPlace(room))
const isListed = async (room: string): Promise<boolean> => {
  const key = unfinishedOf(room)
  return (await healthy.cluster.command(slotOf(key), ['ZSCORE', key, room])) !== null
}

/** Makes a dead process's claim overdue. */
async function expireClaim(room: string): Promise<void> {
  const key = unfinishedOf(room)
  if (!(await isListed(room))) return
  await healthy.cluster.command(slotOf(key), ['ZADD', key, '1', room])
}

/**
 * Another process finishes the deletion. It looks at the list only during this call, because it
 * takes over any claim that stays unchanged for 100 ms. On a busy machine a living process may not
 * renew its claim within that time.
 */
async function anotherFinishes(room: string): Promise<void> {
  const { deletions } = finisher.store
  deletions.start()
  try {
    await until('the room is taken from the list', async () => !(await isListed(room)))
  } finally {
    deletions.close()
    await finisher.store.settled()
  }
}

const dying = (writes: number): ReturnType<typeof dyingStore> =>
  dyingStore(healthy.cluster, writes, SHAPE)

/** A store that waits for `before` ahead of each write. */
function slowStore(before: (args: readonly string[]) => Promise<void>): Store {
  const slow = new Proxy(healthy.cluster, {
    get(target, name) {
      // Every other member belongs to the cluster.
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return async (...args: unknown[]): Promise<unknown> => {
        // A write has a slot and a command.
        if (name === 'acknowledged') await before(args[1] as readonly string[])
        return await Reflect.apply(value, target, args)
      }
    }
  }) satisfies Cluster
  const config = readConfig({})
  return new Store(slow, {
    ...config.store,
    ...config.cluster,
    publish: ignore,
    onFault: ignore,
    ...SHAPE
  })
}

/** The findings, each as `<kind> <count>`; repaired ones are marked. */
async function check(room: string, isRepairing = false): Promise<string[]> {
  const { findings } = await checkRoom(healthy, room, { isRepairing, orphanAgeMs: 0 })
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

t.test('a process dies after each write: no reader sees the room, and it is finished', async t => {
  let writes = 0
  let half = 0
  for (; writes < STEPS_MAX; writes++) {
    const room = freshRoom()
    const secret = `secret of ${room}`
    await fill(room, secret)
    const { store, hasDied } = dying(writes)
    const deletion = store.deletions.delete(room).then(() => store.settled())
    const isOver = await Promise.race([deletion.then(() => true), hasDied.then(() => false)])
    if (writes > 1) {
      t.strictSame(
        await readAll(other.store, room),
        [],
        `after ${writes} writes, no reader sees it`
      )
      t.equal(await other.store.head(room), 14)
      t.equal((await other.store.users.page(room, undefined, 10)).total, 0)
      const { dialogs } = await other.store.inbox.page('eve', undefined, 1000, 1e7)
      t.notOk(dialogs.some(dialog => dialog.room === room))
    }
    t.equal(await isListed(room), writes > 0 && !isOver, `listed after ${writes} writes`)
    const found = await check(room)
    const isGone = (await healthy.cluster.command(roomSlot(room), ['EXISTS', goneKey(room)])) === 1
    if (isGone) {
      t.match(found.join(), /half-deleted 1/, `after ${writes} writes it is found`)
      half++
    } else t.strictSame(found, [], 'nothing is left, or nothing was begun')
    // By turns: repaired, deleted again, repaired after new messages, left to other processes.
    const way = WAYS[writes % WAYS.length]
    if (way === 'begun anew') await append(other.store, room, 'ann', 'a new life')
    if (isGone && (way === 'mended' || way === 'begun anew')) await check(room, true)
    else if (writes > 1 && way === 'finished') {
      await expireClaim(room)
      await anotherFinishes(room)
    } else if (writes < 2 || way === 'deleted again') {
      t.match(await other.store.deletions.delete(room), { isClean: true })
    }
    t.strictSame(await check(room), [], `after ${writes} writes it is mended`)
    t.notOk((await everythingIn(embedded)).includes(secret), 'in every key')
    t.strictSame(
      (await readAll(healthy.store, room)).map(entry => 'text' in entry && entry.text),
      way === 'begun anew' && writes > 1 ? ['a new life'] : []
    )
    if (isOver) break
  }
  t.ok(writes > 8 && half > writes - 4 && writes < STEPS_MAX, `${writes} writes, ${half} half-way`)
})

t.test('a process that dies before it deletes anything leaves the room as it was', async t => {
  const room = freshRoom()
  await fill(room, 'text')
  const { store, hasDied } = dying(1)
  store.deletions.delete(room).catch(ignore)
  await hasDied
  t.ok(await isListed(room))
  await expireClaim(room)
  await anotherFinishes(room)
  t.equal((await readAll(other.store, room)).length, 13)
  t.strictSame(await check(room), [])
})

t.test('a slower process does not take what a later deletion has set aside', async t => {
  const room = freshRoom()
  await fill(room, 'first life')
  const { store, hasDied } = dying(2)
  store.deletions.delete(room).catch(ignore)
  await hasDied
  // It has read what the first deletion set aside, and stops before its next command.
  let goOn = ignore
  const standstill = new Promise<void>(resolve => {
    goOn = resolve
  })
  let isStill = false
  const slow = slowStore(async args => {
    if (args[1] !== CLEANED.sha || isStill) return
    isStill = true
    await standstill
  })
  const cleaning = slow.cleaner.clean(room)
  await until('it stands still', () => isStill)
  await other.store.cleaner.clean(room)
  await append(other.store, room, `ann ${room}`, `second life of ${room}`)
  const second = dying(2)
  second.store.deletions.delete(room).catch(ignore)
  await second.hasDied
  goOn()
  await cleaning
  t.match((await check(room)).join(), /half-deleted 1/, 'the second deletion is still recorded')
  await other.store.cleaner.clean(room)
  t.notOk((await everythingIn(embedded)).includes(`second life of ${room}`))
  t.strictSame(await check(room), [])
})

t.test('writes that arrive late from a former life are never seen, and are removed', async t => {
  const room = freshRoom()
  const secret = `secret of ${room}`
  await fill(room, secret)
  const [entry] = await healthy.store.log.range(room, 10, 10)
  const { tag, id } = parseReference(entry?.reference ?? '')
  await healthy.store.deletions.delete(room)
  const key = blockKey(room, tag)

  // A text that a failover took away, which its writer puts back.
  await other.store.blockWriter.ensure({
    room,
    tag,
    id,
    text: secret,
    deadline: performance.now() + 5000
  })
  t.strictSame(await check(room), [])
  // Left by processes that died: a text that was refused but not removed, a change, a segment.
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

t.test('a large room with split lists of present and former members is removed whole', async t => {
  const room = freshRoom()
  for (const n of sequence(1, 30)) await append(healthy.store, room, `user ${n}`, 'hello')
  await healthy.store.settled()
  await healthy.store.users.split(room)
  t.match(await other.store.deletions.delete(room), { isClean: true })
  t.equal((await healthy.store.users.page(room, undefined, 100)).total, 0)
  t.strictSame(await check(room), [])
  t.notOk((await everythingIn(embedded)).includes(`${room}}:users`), 'no part is left')
})

t.test('whoever writes in a deleted room has it in their list, without any news', async t => {
  const [room, user] = [freshRoom(), freshRoom()]
  const isInList = async (): Promise<boolean> => {
    await other.store.settled()
    const { dialogs } = await other.store.inbox.page(user, undefined, 1000, 1e7)
    return dialogs.some(dialog => dialog.room === room)
  }
  await append(other.store, room, user, 'before')
  t.equal(await isInList(), true)
  // These stores have no subscriber: the other one hears of nothing.
  await healthy.store.deletions.delete(room)
  await healthy.store.settled()
  t.equal(await isInList(), false)
  await append(other.store, room, user, 'after')
  t.equal(await isInList(), true)
})
