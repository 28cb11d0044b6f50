// Messages that are not kept for ever. Everything before the horizon is gone from every answer,
// exactly. Its keys follow later, by Redis' own expiry, and nothing scans.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import { parseReference } from '../../src/message/message.js'
import { blockKey, changedKey, segmentKey } from '../../src/store/keys.js'
import { Log } from '../../src/store/log.js'
import { Pieces } from '../../src/store/pieces.js'
import { Retention } from '../../src/store/retention.js'
import { checkRoom } from '../support/check-room.js'
import { post, readAll, request, sequence } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { openStore, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'

const DAY_MS = 86_400_000
const KEPT_MS = 8_000
const SHAPE = { segmentLength: 16, blockLength: 10 }
const cluster = await startCluster(t)
const { url } = await startService(t, {
  redisNodes: cluster.urls,
  env: {
    SEGMENT_LENGTH: '16',
    BLOCK_LENGTH: '10',
    RETENTION_DAYS_BY_PREFIX: `short-:${(KEPT_MS / DAY_MS).toFixed(6)},short-kept-:0`
  }
})
const admin = await openStore(t, cluster, SHAPE, redisTarget(cluster.urls))
const pathOf = (room: string): string => `${url}/rooms/${encodeURIComponent(room)}`
const expiryOf = async (key: string): Promise<number> =>
  Number(await admin.cluster.command(slotOf(key), ['PEXPIRETIME', key]))

t.test('everything before the horizon is gone from answers, streams, counts and keys', async t => {
  const room = `short-${randomUUID().slice(0, 8)}`
  const kept = `short-kept-${randomUUID().slice(0, 8)}`
  const secret = `secret-${randomUUID()}`
  const [ann, bob] = ['ann', 'bob'].map(name => `${name}-${randomUUID().slice(0, 8)}`) as [
    string,
    string
  ]
  await request(`${pathOf(room)}/users/${bob}`, { method: 'PUT' })
  for (const n of sequence(1, 50)) await post(url, room, ann, `${secret} ${n}`)
  for (const n of sequence(1, 3)) await post(url, kept, ann, `kept ${n}`)
  await request(`${pathOf(room)}/messages/5`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: ann, text: `${secret} changed` })
  })
  const before = openSse(t, `${pathOf(room)}/events`)
  await before.isLive()
  t.equal(before.events.length, 52)
  const [entry] = await admin.store.log.range(room, 5, 5)
  const { tag } = parseReference(entry?.reference ?? '')
  const block = blockKey(room, tag)
  for (const key of [block, changedKey(block), segmentKey(room, 0)]) {
    const leftMs = (await expiryOf(key)) - Date.now()
    t.ok(leftMs > 0 && leftMs < 2 * KEPT_MS, `${key} expires in ${leftMs} ms`)
  }
  const [other] = await admin.store.log.range(kept, 1, 1)
  t.equal(await expiryOf(blockKey(kept, parseReference(other?.reference ?? '').tag)), -1)

  await sleep(KEPT_MS / 2)
  for (const n of sequence(1, 3)) await post(url, room, ann, `later ${n}`)
  const firstLater = 52
  await until('the first ones are gone', async () => {
    const { body } = await request(`${pathOf(room)}/messages?limit=100`)
    return (body['messages'] as unknown[]).length === 3
  })
  t.strictSame(
    (await readAll(url, room)).map(({ seq, text }) => [seq, text]),
    sequence(1, 3).map(n => [firstLater + n - 1, `later ${n}`])
  )
  t.match(await request(`${pathOf(room)}/messages?after=5&limit=2`), {
    body: { head: 54, messages: [{ seq: 52 }, { seq: 53 }] }
  })
  t.match(await request(`${pathOf(room)}/messages?before=52`), { body: { messages: [] } })
  for (const seq of [1, 20, 51]) {
    t.match(await request(`${pathOf(room)}/messages/${seq}`), {
      status: 410,
      body: { code: 'MESSAGE_EXPIRED' }
    })
  }
  t.match(await request(`${url}/users/${bob}/rooms`), {
    body: { rooms: [{ room, head: 54, unread: 3, last: { text: 'later 3' } }] }
  })
  const late = openSse(t, `${pathOf(room)}/events?after=7`)
  await late.isLive()
  t.match(late.events[0], { event: 'reset', data: { reason: 'trimmed', head: 54 } })
  t.strictSame(
    late.events.filter(({ event }) => event === 'message').map(({ data }) => data['seq']),
    [52, 53, 54]
  )
  const fresh = openSse(t, `${pathOf(room)}/events`)
  await fresh.isLive()
  t.strictSame(
    fresh.events.map(({ event }) => event),
    ['message', 'message', 'message', 'live']
  )
  t.strictSame(
    before.events.filter(({ event }) => event === 'reset'),
    [],
    'a reader that has seen everything is told nothing'
  )

  await until('all are gone', async () => (await readAll(url, room)).length === 0)
  t.match(await request(`${pathOf(room)}/messages`), { body: { head: 54, messages: [] } })
  t.match(await request(`${url}/users/${bob}/rooms`), {
    body: { rooms: [{ room, head: 54, unread: 0, last: null }] }
  })
  await until('no key has them', async () => !(await everythingIn(cluster)).includes(secret))
  t.equal(await expiryOf(segmentKey(room, 0)), -2)
  const { body: next } = await post(url, room, ann, 'once more')
  t.equal(next['seq'], 55, 'the numbering continues')
  t.equal((await readAll(url, room)).length, 1)
  t.equal((await readAll(url, kept)).length, 3)
  t.match(await request(`${pathOf(kept)}/messages/1`), { status: 200 })
})

t.test('the first remaining entry is found, wherever the horizon is', async t => {
  for (const count of [1, 15, 16, 17, 40, 100]) {
    const room = `days-${randomUUID().slice(0, 8)}`
    for (const n of sequence(1, count)) {
      await admin.store.append({ room, user: 'zoe', text: `${n}`, once: undefined })
      if (n % 7 === 0) await sleep(3)
    }
    await admin.store.settled()
    const entries = await admin.store.log.range(room, 1, count)
    const times = entries.map(({ reference }) => parseReference(reference ?? '').ms)
    for (const cut of [0, 1, 2, 14, 15, 16, 17, 31, 32, 33, 60, count - 1, count]) {
      if (cut > count) continue
      const horizonMs = cut === 0 ? 0 : (times[cut - 1] ?? 0) + 0.5
      const keptMs = Date.now() - horizonMs + 30_000
      const log = new Log(
        admin.cluster,
        new Pieces(admin.cluster, 16),
        new Retention(keptMs / DAY_MS, [])
      )
      // The horizon would move during the search, so the clock stands still.
      const { now } = Date
      Date.now = () => horizonMs + keptMs
      try {
        const expected = times.findIndex(ms => ms >= horizonMs)
        t.equal(
          await log.first(room),
          expected < 0 ? count + 1 : expected + 1,
          `${cut} of ${count}`
        )
      } finally {
        Date.now = now
      }
    }
  }
})

t.test('keys that were written before the setting get their expiry from the check', async t => {
  const room = `later-${randomUUID().slice(0, 8)}`
  const other = `other-${room}`
  const secret = `secret-${randomUUID()}`
  for (const n of sequence(1, 50)) {
    await admin.store.append({ room, user: 'zoe', text: `${secret} ${n}`, once: undefined })
  }
  await admin.store.append({ room: other, user: 'zoe', text: 'kept', once: undefined })
  const change = { room, author: undefined, once: undefined }
  await admin.store.change({ ...change, seq: 5, text: `${secret} changed` })
  await admin.store.settled()
  const [entry] = await admin.store.log.range(room, 5, 5)
  const block = blockKey(room, parseReference(entry?.reference ?? '').tag)
  const keys = [block, changedKey(block), segmentKey(room, 0)]
  for (const key of keys) await until('it is there', async () => (await expiryOf(key)) === -1)

  const kept = await openStore(
    t,
    cluster,
    { ...SHAPE, retentionDaysByPrefix: [{ prefix: 'later-', days: 1 }] },
    redisTarget(cluster.urls)
  )
  t.strictSame(await kindsIn(kept, room, false), ['no-expiry'], 'it is found')
  for (const key of keys) t.equal(await expiryOf(key), -1)
  t.strictSame(await kindsIn(kept, room, true), ['no-expiry mended'])
  t.strictSame(await kindsIn(kept, room, false), [])
  t.strictSame(await kindsIn(kept, other, true), [], 'others keep theirs')
  for (const key of keys) {
    const leftMs = (await expiryOf(key)) - Date.now()
    t.ok(leftMs > DAY_MS && leftMs < DAY_MS + 3_700_000, `${key} expires in ${leftMs} ms`)
  }
  for (const isRepairing of [false, true]) {
    t.strictSame(await kindsIn(admin, room, isRepairing), ['expiring'], 'without the setting')
    t.ok((await expiryOf(block)) > 0, 'which makes nothing stay')
  }
  // An existing expiry stays, and what has expired already is deleted at once.
  const before = await expiryOf(block)
  await kindsIn(kept, room, true)
  t.equal(await expiryOf(block), before)
  await admin.cluster.command(slotOf(block), ['PERSIST', block])
  const over = await openStore(
    t,
    cluster,
    { ...SHAPE, retentionDaysByPrefix: [{ prefix: 'later-', days: 1e-9 }] },
    redisTarget(cluster.urls)
  )
  await kindsIn(over, room, true)
  t.equal(await expiryOf(block), -2)
})

/** The kinds that are found. */
async function kindsIn(opened: TestStore, room: string, isRepairing: boolean): Promise<string[]> {
  const { findings } = await checkRoom(opened, room, {
    isRepairing,
    orphanAgeMs: 60_000,
    settleMs: 0
  })
  return findings.map(({ kind, count, mended }) => `${kind}${mended === count ? ' mended' : ''}`)
}

t.test('a slot that moves keeps the expiries of its keys', async t => {
  const days = 2
  const { store } = await openStore(t, cluster, { ...SHAPE, retentionDays: days })
  const room = `moved-${randomUUID().slice(0, 8)}`
  for (const n of sequence(1, 60)) {
    await store.append({ room, user: 'yan', text: `text ${n}`, once: undefined })
  }
  await store.change({ room, seq: 1, text: 'changed', author: undefined, once: undefined })
  await store.settled()
  const [entry] = await store.log.range(room, 1, 1)
  const block = blockKey(room, parseReference(entry?.reference ?? '').tag)
  const keys = [block, changedKey(block), segmentKey(room, 0)]
  await until('all of them expire', async () =>
    (await Promise.all(keys.map(expiryOf))).every(ms => ms > Date.now() + DAY_MS)
  )
  const before = await Promise.all(keys.map(expiryOf))
  const operator = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    operator.close()
  })
  for (const slot of new Set(keys.map(slotOf))) {
    const map = await operator.look()
    const from = map.ownerOf(slot) ?? ''
    const to = map.masters.find(({ id }) => id !== from)?.id ?? ''
    t.match(await moveSlots(operator, [{ slot, from, to }]), { isComplete: true })
  }
  // MIGRATE transfers the remaining time, so an expiry may be later by the time that the move took.
  for (const [index, key] of keys.entries()) {
    const laterMs = (await expiryOf(key)) - (before[index] ?? 0)
    t.ok(laterMs >= 0 && laterMs < 1000, `${key} expires ${laterMs} ms later`)
  }
})
