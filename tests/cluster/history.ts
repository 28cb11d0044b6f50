// Reading messages: every sequence once, with its text or as lost; at a cost that depends on the
// page only; and shared only between callers that may share a read.
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { Admin } from '../../src/cli/cluster/admin.js'
import { type MapNode } from '../../src/cli/cluster/map.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { type DialogsError } from '../../src/errors.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { FRESH_MS } from '../../src/store/history.js'
import { blockKey, logKey, roomSlot, segmentKey } from '../../src/store/keys.js'
import { type Store } from '../../src/store/store.js'
import { slotOf } from '../../src/redis/slots.js'
import { isLost, isMessage, type Entry } from '../../src/message/message.js'
import { freshRoom, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { Gate } from '../support/gate.js'
import { append, appendMany, openStore, readAll, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'

const SEGMENT_LENGTH = 16
const BLOCK_LENGTH = 10

const embedded = await startCluster(t)
const open = (t: Test, gate?: Gate): Promise<TestStore> =>
  openStore(
    t,
    embedded,
    { segmentLength: SEGMENT_LENGTH, blockLength: BLOCK_LENGTH },
    gate === undefined ? {} : { addressMap: gate.addressMap }
  )

const newest = async (store: Store, room: string, limit: number): Promise<Entry[]> =>
  await store.history.entries(room, (await store.pageLog({ room, limit })).log)
const seqsOf = (entries: readonly Entry[]): number[] => entries.map(({ seq }) => seq)
const lostSeqs = (entries: readonly Entry[]): number[] => seqsOf(entries.filter(isLost))

async function commandCount(cluster: Cluster): Promise<number> {
  const infos = await Promise.all(
    cluster.topology.masters.map(master => cluster.onNode(master, ['INFO', 'commandstats']))
  )
  return infos
    .flatMap(info => [...String(info).matchAll(/^cmdstat_x\w+:calls=(\d+)/gm)])
    .reduce((sum, [, calls]) => sum + Number(calls), 0)
}

t.test(
  'every text comes back as it was sent, whoever wrote it, in the order of the sequences',
  async t => {
    const { store } = await open(t)
    const texts = fc.array(
      fc.record({
        user: fc.constantFrom('ann', 'ผู้ใช้', 'محمد', 'a.b/0', '🙂'),
        text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 })
      }),
      { minLength: 1, maxLength: 30 }
    )
    await fc.assert(
      fc.asyncProperty(texts, async texts => {
        const room = freshRoom()
        const sent = await Promise.all(
          texts.map(async ({ user, text }) => (await append(store, room, user, text)).message)
        )
        const stored = await readAll(store, room, 7)
        return JSON.stringify(stored) === JSON.stringify(sent.sort((a, b) => a.seq - b.seq))
      }),
      { numRuns: 20 }
    )
  }
)

t.test('texts of every kind survive: line ends, JSON, zero bytes, a megabyte', async t => {
  const { store } = await open(t)
  const room = freshRoom()
  const texts = [
    '\r\n',
    'a\n\nb',
    '{"t":1}',
    '\0',
    '*3\r\n$3\r\nSET',
    '%',
    '\\',
    '"',
    'é',
    'e\u0301',
    '\uFEFF',
    'x'.repeat(2 ** 20)
  ]
  for (const text of texts) await append(store, room, 'ann', text)
  t.strictSame(
    (await readAll(store, room)).map(entry => (isMessage(entry) ? entry.text : undefined)),
    texts
  )
})

t.test('the newest messages and any range: at, below and above every edge', async t => {
  const { store } = await open(t)
  const room = freshRoom()
  t.strictSame(await newest(store, room, 5), [])
  t.strictSame(await store.history.range(room, 1, 5), [])
  await append(store, room, 'ann', 'one')
  t.strictSame(seqsOf(await newest(store, room, 5)), [1])
  await appendMany(store, room, 'ann', 59)
  await store.sealer.seal(room)
  for (const count of [1, 59, 60, 61]) {
    t.strictSame(
      seqsOf(await newest(store, room, count)),
      sequence(Math.max(1, 61 - count), 60),
      `the newest ${count}`
    )
  }
  for (const [from, to] of [
    [1, 1],
    [1, 60],
    [1, 61],
    [16, 17],
    [10, 11],
    [60, 60],
    [60, 70],
    [61, 61],
    [61, 99],
    [5, 4]
  ] as const) {
    t.strictSame(
      seqsOf(await store.history.range(room, from, to)),
      sequence(from, Math.min(60, to)),
      `${from} to ${to}`
    )
  }
  t.equal(await store.message(room, 61), undefined)
  t.match(await store.message(room, 60), { seq: 60, user: 'ann' })
})

t.test('a read in one epoch is not shared with callers in the next', async t => {
  const gate = await Gate.open(t, embedded.urls)
  const [reader, writer] = await Promise.all([open(t, gate), open(t)])
  const room = freshRoom()
  await appendMany(writer.store, room, 'ann', 3, 'old ')
  gate.hold(logKey(room))
  const old = reader.store.history.range(room, 1, 3, 1)
  await until('the old log was read', () => gate.heldBytes > 0)
  await writer.cluster.command(roomSlot(room), ['DEL', logKey(room)])
  const other = await open(t)
  const messages = await appendMany(other.store, room, 'ann', 3, 'new ')
  const now = reader.store.history.range(room, 1, 3, 2)
  gate.release()
  t.strictSame(await now, messages)
  t.match(await old, [{ text: /old/ }, { text: /old/ }, { text: /old/ }])
})

t.test(
  'the messages of a missing block are reported as lost, each with its sequence and time, without delay',
  async t => {
    const { store, cluster } = await open(t)
    const room = freshRoom()
    const user = `ann-${room}`
    const messages = await appendMany(store, room, user, 3 * BLOCK_LENGTH)
    await cluster.command(slotOf(blockKey(room, `${user}.1`)), ['DEL', blockKey(room, `${user}.1`)])
    const entries = await readAll(store, room)
    t.strictSame(seqsOf(entries), sequence(1, 3 * BLOCK_LENGTH))
    t.equal(lostSeqs(entries).length, BLOCK_LENGTH)
    for (const entry of entries) t.equal(entry.ms, messages[entry.seq - 1]?.ms)
    const [first = 0] = lostSeqs(entries)
    t.strictSame(await store.message(room, first), {
      room,
      seq: first,
      ms: messages[first - 1]?.ms,
      lost: true
    })
  }
)

t.test('a single missing message is lost, and its neighbours are not', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  await appendMany(store, room, 'ann', 5)
  const { reference = '' } = (await store.log.range(room, 3, 3))[0] ?? {}
  const [tag = '', id = ''] = reference.split('/')
  await cluster.command(slotOf(blockKey(room, tag)), ['XDEL', blockKey(room, tag), id])
  t.strictSame(lostSeqs(await newest(store, room, 10)), [3])
})

t.test(
  'the missing text of a new message is waited for up to the limit; that of an old message is not',
  async t => {
    const { store, cluster } = await openStore(t, embedded, {
      segmentLength: SEGMENT_LENGTH,
      blockLength: BLOCK_LENGTH,
      lostPatienceMs: 1000
    })
    const room = freshRoom()
    await appendMany(store, room, 'ann', 3)
    const { reference = '' } = (await store.log.range(room, 2, 2))[0] ?? {}
    const [tag = '', id = ''] = reference.split('/')
    const key = blockKey(room, tag)
    await cluster.command(slotOf(key), ['XDEL', key, id])
    const began = performance.now()
    t.strictSame(lostSeqs(await store.history.range(room, 1, 3)), [2])
    t.ok(performance.now() - began >= 1000, 'it could still have been put back')

    const reading = store.history.range(room, 1, 3)
    t.match(
      await store.history.glance(room, 2),
      { lost: true },
      'a caller that only looks does not wait'
    )
    await store.blockWriter.ensure({
      room,
      tag,
      id,
      text: 'put back',
      deadline: performance.now() + 5000
    })
    t.match(await reading, [{ seq: 1 }, { seq: 2, text: 'put back' }, { seq: 3 }])

    // To a process whose clock is a minute ahead, a message looks a minute older than it is.
    for (const [seq, ageMs, isAwaited] of [
      [4, FRESH_MS - 5000, true],
      [5, FRESH_MS + 1000, false]
    ] as const) {
      await cluster.command(slotOf(logKey(room)), [
        'XADD',
        logKey(room),
        '0-*',
        'r',
        `ann.0/${Date.now() - ageMs}-0`
      ])
      const beganAgain = performance.now()
      t.strictSame(lostSeqs(await store.history.range(room, seq, seq)), [seq])
      t.equal(performance.now() - beganAgain >= 1000, isAwaited, `a message of ${ageMs} ms ago`)
    }
  }
)

t.test('a missing segment means lost messages, and their times are unknown', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  await appendMany(store, room, 'ann', 4 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  await cluster.command(slotOf(segmentKey(room, 1)), ['DEL', segmentKey(room, 1)])
  const entries = await readAll(store, room)
  t.strictSame(seqsOf(entries), sequence(1, 4 * SEGMENT_LENGTH))
  t.strictSame(lostSeqs(entries), sequence(SEGMENT_LENGTH + 1, 2 * SEGMENT_LENGTH))
  t.ok(entries.filter(isLost).every(({ ms }) => ms === 0))
})

t.test(
  "keys that had already moved when a slot's owner died are out of reach, not lost",
  async t => {
    const { store } = await open(t)
    const room = freshRoom()
    const user = `ann-${room}`
    const messages = await appendMany(store, room, user, 4 * SEGMENT_LENGTH)
    await store.sealer.seal(room)
    const admin = await Admin.connect(redisTarget(embedded.urls))
    t.teardown(() => {
      admin.close()
    })
    for (const key of [blockKey(room, `${user}.1`), segmentKey(room, 1)]) {
      const slot = slotOf(key)
      const map = await admin.look()
      const owner = map.nodes.get(map.ownerOf(slot) ?? '')
      const other = map.masters.find(({ id }) => id !== owner?.id)
      if (owner === undefined || other === undefined) throw new Error('There are no two masters')
      const setSlot = (node: MapNode, ...state: string[]): Promise<unknown> =>
        admin.ask(node, 'CLUSTER', 'SETSLOT', String(slot), ...state)
      await setSlot(other, 'IMPORTING', owner.id)
      await setSlot(owner, 'MIGRATING', other.id)
      const { host, port } = other.address
      await admin.ask(owner, 'MIGRATE', host, String(port), key, '0', '1000')
      t.strictSame(await readAll(store, room), messages, 'both halves are reached')

      // Makes the owner act as its replica would if the owner had died: it knows nothing of the
      // move. The result of a look at the marks is valid for a second, so this takes longer.
      await setSlot(owner, 'STABLE')
      const isRefused = (): Promise<boolean> =>
        readAll(store, room).then(
          () => false,
          ({ code }: DialogsError) => code === 'STORE_UNAVAILABLE'
        )
      await until(`${key} is out of reach`, isRefused)
      await setSlot(owner, 'MIGRATING', other.id)
      t.strictSame(await readAll(store, room), messages)
      await setSlot(other, 'NODE', other.id)
      await setSlot(owner, 'NODE', other.id)
    }
  }
)

t.test('identical reads in flight are one read', async t => {
  const { store } = await open(t)
  const room = freshRoom()
  await appendMany(store, room, 'ann', 20)
  const before = store.history.reads
  const pages = await Promise.all(sequence(1, 100).map(() => store.history.range(room, 3, 12)))
  t.equal(store.history.reads - before, 1)
  for (const page of pages) t.equal(page, pages[0])
  await store.history.range(room, 3, 12)
  t.equal(store.history.reads - before, 2, 'the next one reads again')
})

t.test(
  'a read that began before a message was stored is not shared with later callers',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const [slow, other] = await Promise.all([open(t, gate), open(t)])
    const room = freshRoom()
    await append(slow.store, room, 'ann', 'one')
    await slow.store.history.range(room, 1, 9)
    const before = slow.store.history.reads
    gate.hold('XRANGE')
    const early = slow.store.history.range(room, 1, 2)
    await until('its answer is on the way', () => gate.heldBytes > 0)
    await append(other.store, room, 'bob', 'two')
    const late = [slow.store.history.range(room, 1, 2), slow.store.history.range(room, 1, 2)]
    gate.release()
    t.strictSame(seqsOf(await early), [1])
    for (const read of late) t.strictSame(seqsOf(await read), [1, 2])
    t.equal(slow.store.history.reads - before, 2, 'the later callers share a read')
  }
)

t.test(
  'a page, and a single message, wait until a replica has what they show; older ones do not',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const [reader, writer] = await Promise.all([open(t, gate), open(t)])
    const room = freshRoom()
    await appendMany(writer.store, room, 'ann', 3 * SEGMENT_LENGTH)
    await writer.store.sealer.seal(room)
    t.match(await reader.store.message(room, 1), { seq: 1 }, 'it is in a segment')
    for (const [after, read] of [
      [undefined, () => newest(reader.store, room, 5)],
      [0, () => reader.store.pageLog({ room, after: 0, limit: 5 })],
      [undefined, () => reader.store.message(room, 3 * SEGMENT_LENGTH + 3)]
    ] as const) {
      await append(writer.store, room, 'ann', 'new')
      gate.hold('WAIT')
      let isAnswered = false
      const answer = read().then(() => {
        isAnswered = true
      })
      await until('the acknowledgement is on the way', () => gate.heldBytes > 0)
      t.notOk(isAnswered, `after ${after ?? 'nothing'}`)
      gate.release()
      await answer
    }
    gate.hold('WAIT')
    t.equal((await newest(reader.store, room, 5)).length, 5, 'the head is known now')
    t.equal(gate.heldBytes, 0)
    gate.release()
  }
)

t.test('a page costs as many commands in a large room as in a small one', async t => {
  const { store, cluster } = await openStore(t, embedded, { segmentLength: SEGMENT_LENGTH })
  const costs: number[] = []
  for (const length of [100, 2000]) {
    const room = freshRoom()
    await appendMany(store, room, `ann-${room}`, length)
    await store.sealer.seal(room)
    for (const [from, to] of [
      [1, 16],
      [33, 48],
      [length - 15, length]
    ] as const) {
      await store.history.range(room, from, to)
      const before = await commandCount(cluster)
      await store.history.range(room, from, to)
      costs.push((await commandCount(cluster)) - before)
    }
  }
  t.strictSame(costs.slice(0, 3), costs.slice(3))
  t.ok(Math.max(...costs) <= 4, costs.join(', '))
})
