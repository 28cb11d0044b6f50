// The order of a room: sealing it piece by piece, reading it while that happens, and commits whose
// outcome is unknown.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { deletedKey, logKey, roomSlot, segmentKey } from '../../src/store/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { Retention } from '../../src/store/retention.js'
import { SEAL } from '../../src/store/log-scripts.js'
import { type Appended } from '../../src/store/idempotency.js'
import { Log } from '../../src/store/log.js'
import { type LogEntry, Pieces } from '../../src/store/pieces.js'
import { freshRoom, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { Gate } from '../support/gate.js'
import { LogModel, type Meanwhile, referenceAt } from '../support/log-model.js'
import { append, appendMany, openStore, readAll, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'

const SEGMENT_LENGTH = 16

const embedded = await startCluster(t)
const open = (t: Test, gate?: Gate): Promise<TestStore> =>
  openStore(
    t,
    embedded,
    { segmentLength: SEGMENT_LENGTH },
    gate === undefined ? {} : { addressMap: gate.addressMap }
  )

/** Never seals, so what it writes stays in the tail. */
const openUnsealing = (t: Test): Promise<TestStore> =>
  openStore(t, embedded, { segmentLength: 65_536 })

const seqsOf = (entries: ReadonlyArray<{ readonly seq: number }>): number[] =>
  entries.map(({ seq }) => seq)

async function entriesAt(cluster: Cluster, key: string): Promise<LogEntry[]> {
  // XRANGE returns `[[id, ['r', reference]], …]`, where ids are `0-<seq>`.
  const reply = (await cluster.command(slotOf(key), ['XRANGE', key, '-', '+'])) as ReadonlyArray<
    readonly [string, readonly [string, string]]
  >
  return reply.map(([id, fields]) => ({ seq: Number(id.slice(2)), reference: fields[1] }))
}

const tailOf = (cluster: Cluster, room: string): Promise<LogEntry[]> =>
  entriesAt(cluster, logKey(room))

t.test(
  'whatever is appended, sealed and trimmed between two commands, a range holds every sequence up to the head exactly once',
  async () => {
    const events: fc.Arbitrary<Meanwhile> = fc.oneof(
      fc.record({ append: fc.nat(20) }),
      fc.constantFrom('seal' as const, 'trim' as const)
    )
    const histories = fc.array(events, { maxLength: 40 })
    const meanwhiles = fc.array(fc.array(events, { maxLength: 4 }), { maxLength: 8 })
    const reads = fc.array(
      fc.record({
        from: fc.integer({ min: 1, max: 150 }),
        length: fc.integer({ min: 0, max: 40 }),
        isNewest: fc.boolean()
      }),
      { minLength: 1, maxLength: 4 }
    )
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        histories,
        meanwhiles,
        reads,
        async (segmentLength, history, meanwhile, reads) => {
          const model = new LogModel('r', segmentLength, meanwhile)
          for (const event of history) model.apply(event)
          const log = new Log(model, new Pieces(model, segmentLength), new Retention(0, []))
          for (const { from, length, isNewest } of reads) {
            const headBefore = model.head
            const to = from + length - 1
            const entries = isNewest
              ? await log.newest('r', length)
              : await log.range('r', from, to)
            const first = isNewest
              ? Math.max(1, (entries.at(-1)?.seq ?? 0) - Math.max(1, length) + 1)
              : from
            const last = entries.at(-1)?.seq ?? first - 1
            assert.deepEqual(
              entries,
              sequence(first, last).map(seq => ({ seq, reference: referenceAt(seq) }))
            )
            assert.ok(
              last >= (isNewest ? headBefore : Math.min(to, headBefore)) || from > headBefore,
              'nothing that was there before is left out'
            )
            assert.ok(
              last <= (isNewest ? model.head : Math.min(to, model.head)) || last < first,
              'and nothing is invented'
            )
          }
        }
      ),
      { numRuns: 1000 }
    )
  }
)

t.test(
  'a tail longer than two segments is sealed from its oldest end, and each segment holds exactly its own sequences',
  async t => {
    const { store, cluster } = await open(t)
    const room = freshRoom()
    for (const [count, tailFirst] of [
      [2 * SEGMENT_LENGTH - 1, 1],
      [1, 1],
      [SEGMENT_LENGTH - 1, 1],
      [1, SEGMENT_LENGTH + 1]
    ] as const) {
      for (const text of sequence(1, count)) await append(store, room, 'ann', String(text))
      await until(
        `the tail begins at ${tailFirst}`,
        async () => (await tailOf(cluster, room))[0]?.seq === tailFirst
      )
    }
    t.strictSame(seqsOf(await entriesAt(cluster, segmentKey(room, 0))), sequence(1, SEGMENT_LENGTH))
    t.strictSame(await entriesAt(cluster, segmentKey(room, 1)), [])
    t.strictSame(seqsOf(await store.log.range(room, 1, 100)), sequence(1, 3 * SEGMENT_LENGTH))
  }
)

t.test('several may seal at once, and every segment is right', async t => {
  const room = freshRoom()
  const { store } = await openUnsealing(t)
  await appendMany(store, room, 'ann', 10 * SEGMENT_LENGTH + 5)
  const whole = await store.log.range(room, 1, 1000)
  const sealers = await Promise.all(sequence(1, 4).map(() => open(t)))
  await Promise.all(
    sealers.flatMap(({ store }) => [store.sealer.seal(room), store.sealer.seal(room)])
  )
  const [first] = sealers
  t.ok(first)
  if (first === undefined) return
  t.strictSame(
    seqsOf(await tailOf(first.cluster, room)),
    sequence(9 * SEGMENT_LENGTH + 1, 10 * SEGMENT_LENGTH + 5),
    'the tail is shorter than two segments'
  )
  for (const { store } of sealers) t.strictSame(await store.log.range(room, 1, 1000), whole)
})

t.test(
  'after a seal that was interrupted before the trim, reads are right, and the next seal finishes it',
  async t => {
    const room = freshRoom()
    const { store, cluster } = await openUnsealing(t)
    await appendMany(store, room, 'ann', 3 * SEGMENT_LENGTH)
    const whole = await store.log.range(room, 1, 1000)
    const target = segmentKey(room, 0)
    await cluster.command(slotOf(target), [
      'EVALSHA',
      SEAL.sha,
      '1',
      target,
      '1',
      ...whole.slice(0, SEGMENT_LENGTH).map(({ reference }) => reference ?? '')
    ])
    const { store: later } = await open(t)
    t.strictSame(await later.log.range(room, 1, 1000), whole)
    await later.sealer.seal(room)
    t.strictSame(
      seqsOf(await tailOf(cluster, room)),
      sequence(SEGMENT_LENGTH + 1, 3 * SEGMENT_LENGTH)
    )
    t.strictSame(await later.log.range(room, 1, 1000), whole)
  }
)

t.test('a segment that differs from the tail is rewritten before the tail is trimmed', async t => {
  const room = freshRoom()
  const { store, cluster } = await openUnsealing(t)
  await appendMany(store, room, 'ann', 3 * SEGMENT_LENGTH)
  const whole = await store.log.range(room, 1, 1000)
  const target = segmentKey(room, 0)
  // What a failover may leave behind: a segment of an earlier epoch, just as long.
  for (const seq of sequence(1, SEGMENT_LENGTH)) {
    await cluster.command(slotOf(target), ['XADD', target, `0-${seq}`, 'r', `ann.0/1-${seq}`])
  }
  const { store: sealing } = await open(t)
  await sealing.sealer.seal(room)
  t.equal((await tailOf(cluster, room))[0]?.seq, SEGMENT_LENGTH + 1)
  t.strictSame(await sealing.log.range(room, 1, 1000), whole)
})

t.test('a log that does not start at a segment boundary is left as it is', async t => {
  const room = freshRoom()
  const { store, cluster } = await openUnsealing(t)
  await appendMany(store, room, 'ann', 4 * SEGMENT_LENGTH)
  await cluster.command(roomSlot(room), ['XTRIM', logKey(room), 'MINID', '0-4'])
  const { store: sealing } = await open(t)
  await t.rejects(sealing.sealer.seal(room), {
    code: 'STORE_UNAVAILABLE',
    message: /npm run check/
  })
  t.equal((await tailOf(cluster, room)).length, 4 * SEGMENT_LENGTH - 3)
})

t.test(
  'reading across tail and segments misses nothing during writing, sealing and trimming',
  async t => {
    const room = freshRoom()
    const [writer, otherWriter, reader] = await Promise.all([open(t), open(t), open(t)])
    const texts = new Map<number, string>()
    let head = 0
    const writing = { isOver: false }
    let reads = 0
    const write = async ({ store }: TestStore, user: string): Promise<void> => {
      for (const n of sequence(1, 150)) {
        const { message } = await append(store, room, user, `${user} ${n}`)
        texts.set(message.seq, message.text)
        while (texts.has(head + 1)) head++
      }
    }
    const read = async (): Promise<void> => {
      await until('there is something to read', () => head > 0)
      for (let index = 0; !writing.isOver || index < 20; index++) {
        const known = head
        const from = 1 + Math.floor(Math.random() * known)
        const to = Math.min(known, from + Math.floor(Math.random() * 5 * SEGMENT_LENGTH))
        const entries = await reader.store.history.range(room, from, to)
        const wrong = entries.filter(
          entry => !('user' in entry) || entry.text !== texts.get(entry.seq)
        )
        reads++
        if (wrong.length > 0 || seqsOf(entries).join() !== sequence(from, to).join()) {
          t.fail(`${from} to ${to}`, { wrong, seqs: seqsOf(entries) })
        }
      }
    }
    const reading = Promise.all([read(), read(), read()])
    await Promise.all([
      write(writer, 'ann'),
      write(writer, 'bob'),
      write(otherWriter, 'cyd'),
      write(otherWriter, 'dan')
    ])
    writing.isOver = true
    await reading
    t.ok(reads > 60, `${reads} reads`)
    t.equal(await reader.store.head(room), 600)
    await until(
      'it is sealed',
      async () => ((await tailOf(reader.cluster, room))[0]?.seq ?? 0) > 500
    )
    t.strictSame(
      (await readAll(reader.store, room)).map(entry => ('user' in entry ? entry.text : undefined)),
      sequence(1, 600).map(seq => texts.get(seq))
    )
  }
)

t.test('a lost segment is a hole in the content, not in the order', async t => {
  const room = freshRoom()
  const { store, cluster } = await open(t)
  await appendMany(store, room, 'ann', 5 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  await cluster.command(slotOf(segmentKey(room, 1)), ['DEL', segmentKey(room, 1)])
  const { store: other } = await open(t)
  for (const log of [store.log, other.log]) {
    const entries = await log.range(room, 1, 1000)
    t.strictSame(seqsOf(entries), sequence(1, 5 * SEGMENT_LENGTH))
    t.strictSame(
      seqsOf(entries.filter(({ reference }) => reference === undefined)),
      sequence(SEGMENT_LENGTH + 1, 2 * SEGMENT_LENGTH)
    )
  }
})

t.test(
  'entries missing from the tail are holes in the content as well, even if a range holds nothing else',
  async t => {
    const room = freshRoom()
    const { store, cluster } = await open(t)
    await appendMany(store, room, 'ann', 20)
    await cluster.command(roomSlot(room), ['XDEL', logKey(room), '0-5', '0-6', '0-7'])
    for (const [from, to] of [
      [1, 20],
      [5, 7],
      [6, 6],
      [6, 9],
      [3, 21]
    ] as const) {
      const entries = await store.log.range(room, from, to)
      t.strictSame(seqsOf(entries), sequence(from, Math.min(to, 20)))
      t.strictSame(
        seqsOf(entries.filter(({ reference }) => reference === undefined)),
        sequence(Math.max(5, from), Math.min(7, to))
      )
    }
  }
)

t.test('a log that was started again is not read from the segments of the old log', async t => {
  const room = freshRoom()
  const [{ store, cluster }, other] = await Promise.all([open(t), open(t)])
  await appendMany(store, room, 'ann', 5 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  await cluster.command(roomSlot(room), ['DEL', logKey(room)])
  await appendMany(other.store, room, 'bob', SEGMENT_LENGTH)
  t.match(await store.log.head(room), { seq: SEGMENT_LENGTH })
  t.strictSame(await store.log.range(room, 1, SEGMENT_LENGTH), await tailOf(cluster, room))
})

t.test('the newest entries: none, fewer, as many, and more than the tail holds', async t => {
  const room = freshRoom()
  const { store } = await open(t)
  t.strictSame(await store.log.newest(room, 10), [])
  t.equal(await store.log.head(room), undefined)
  await appendMany(store, room, 'ann', 5 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  const head = 5 * SEGMENT_LENGTH
  for (const count of [
    1,
    2,
    SEGMENT_LENGTH,
    2 * SEGMENT_LENGTH - 1,
    2 * SEGMENT_LENGTH,
    2 * SEGMENT_LENGTH + 1,
    head - 1,
    head,
    head + 1,
    1000
  ]) {
    t.strictSame(
      seqsOf(await store.log.newest(room, count)),
      sequence(Math.max(1, head - count + 1), head),
      `the newest ${count}`
    )
  }
  t.match(await store.log.head(room), { seq: head })
})

t.test('a range ends at the head, and may be empty', async t => {
  const room = freshRoom()
  const { store } = await open(t)
  t.strictSame(await store.log.range(room, 1, 10), [])
  await appendMany(store, room, 'ann', 3 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  const head = 3 * SEGMENT_LENGTH
  for (const [from, to] of [
    [1, 0],
    [5, 4],
    [1, 1],
    [1, head - 1],
    [1, head],
    [1, head + 1],
    [head, head],
    [head, head + 1],
    [head + 1, head + 1],
    [head + 1, head + 50],
    [SEGMENT_LENGTH, SEGMENT_LENGTH + 1]
  ] as const) {
    t.strictSame(
      seqsOf(await store.log.range(room, from, to)),
      sequence(from, Math.min(to, head)),
      `${from} to ${to}`
    )
  }
})

t.test(
  'a commit whose answer was lost is found again, even if the log was sealed and trimmed in the meantime',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const [cut, other] = await Promise.all([open(t, gate), open(t)])
    const room = freshRoom()
    await append(cut.store, room, 'ann', 'first')
    gate.hold(logKey(room))
    const appended = append(cut.store, room, 'ann', 'second')
    await until('the commit was carried out, and its answer is held back', () => gate.heldBytes > 0)
    await appendMany(other.store, room, 'bob', 5 * SEGMENT_LENGTH)
    await until(
      'what was committed is no longer in the tail',
      async () => ((await tailOf(other.cluster, room))[0]?.seq ?? 0) > 2
    )
    gate.cut()
    t.equal((await appended).message.seq, 2)
    const references = (await other.store.log.range(room, 1, 1000)).map(
      ({ reference }) => reference
    )
    t.equal(references.length, 2 + 5 * SEGMENT_LENGTH)
    t.equal(new Set(references).size, references.length, 'no message is in the log twice')
  }
)

// Two connections, so that the commit does not wait for the acknowledgement of the message's own
// entry.
async function openCutAndOther(
  t: Test,
  { addressMap }: Gate
): Promise<{ cut: TestStore; other: TestStore }> {
  const shape = { segmentLength: SEGMENT_LENGTH }
  return {
    cut: await openStore(t, embedded, shape, { addressMap, writeConnections: 2 }),
    other: await openStore(t, embedded, shape, { replicaAcks: 0 })
  }
}

/**
 * Writes the second message of a room whose replica has stopped: it is committed, and waits until
 * the replica goes on.
 */
async function appendSecond(
  t: Test,
  { cut, other }: { readonly cut: TestStore; readonly other: TestStore },
  room: string
): Promise<{ appended: Promise<Appended>; replica: EmbeddedNode }> {
  const { topology } = other.cluster
  const owner = topology.ownerOf(roomSlot(room)) ?? ''
  const port = topology.livingReplicasOf(owner)[0]?.address.port
  const replica = embedded.nodes.find(node => node.port === port)
  if (replica === undefined) throw new Error('The shard has no replica')
  await replica.kill('SIGSTOP')
  t.teardown(() => replica.kill('SIGCONT'))
  const appended = append(cut.store, room, 'ann', 'second')
  await until(
    'it is committed, and waits for the replica',
    async () => (await other.store.head(room)) === 2
  )
  return { appended, replica }
}

/** Leaves the room's log as a failover might: only its first entry is there. */
async function takeBack(cluster: Cluster, room: string): Promise<void> {
  const [first] = await tailOf(cluster, room)
  await cluster.command(roomSlot(room), ['DEL', logKey(room)])
  const entry = ['XADD', logKey(room), '0-1', 'r', first?.reference ?? '']
  await cluster.command(roomSlot(room), entry)
}

t.test(
  'a commit that a failover took back before a replica had it gets a new place, and the answer names that one',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const { cut, other } = await openCutAndOther(t, gate)
    const room = freshRoom()
    await append(cut.store, room, 'ann', 'first')
    const { appended, replica } = await appendSecond(t, { cut, other }, room)
    // Does what a failover would do, as far as the writer can tell: its commit is gone, and its
    // place is taken.
    await takeBack(other.cluster, room)
    t.equal((await append(other.store, room, 'bob', 'in its place')).message.seq, 2)
    gate.cut()
    await replica.kill('SIGCONT')
    t.match(await appended, { message: { seq: 3, text: 'second' }, isNew: true })
    t.strictSame(
      cut.published.map(({ seq, text }) => [seq, text]),
      [
        [1, 'first'],
        [3, 'second']
      ]
    )
    t.match(await readAll(other.store, room), {
      length: 3,
      0: { text: 'first' },
      1: { text: 'in its place' },
      2: { text: 'second' }
    })
  }
)

t.test(
  'a commit to a log that was taken back is there once, even if it is repeated when others have written',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const { cut, other } = await openCutAndOther(t, gate)
    const room = freshRoom()
    await appendMany(cut.store, room, 'ann', 4)
    await takeBack(other.cluster, room)
    const { appended, replica } = await appendSecond(t, { cut, other }, room)
    // The last sequence is again the one that the writer knew before its first attempt.
    await appendMany(other.store, room, 'bob', 2)
    gate.cut()
    await replica.kill('SIGCONT')
    t.match(await appended, { message: { seq: 2, text: 'second' }, isNew: true })
    const references = (await tailOf(other.cluster, room)).map(({ reference }) => reference)
    t.equal(references.length, 4)
    t.equal(new Set(references).size, 4, 'no message is in the log twice')
  }
)

t.test(
  'an attempt that arrives late, in a log that was taken back and has grown again, adds nothing',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const shape = { segmentLength: SEGMENT_LENGTH }
    const { addressMap } = gate
    const cut = await openStore(t, embedded, shape, { addressMap, commandTimeoutMs: 300 })
    const other = await open(t)
    const room = freshRoom()
    await appendMany(cut.store, room, 'ann', 4)
    await takeBack(other.cluster, room)
    gate.delay(logKey(room))
    t.match(await append(cut.store, room, 'ann', 'once'), { message: { seq: 2, text: 'once' } })
    t.ok(gate.isAbandoned, 'its first attempt is still on the way')
    // The last sequence is again the one that the writer knew before its first attempt.
    await appendMany(other.store, room, 'bob', 2)
    await gate.deliver()
    const references = (await tailOf(other.cluster, room)).map(({ reference }) => reference)
    t.equal(references.length, 4)
    t.equal(new Set(references).size, 4, 'no message is in the log twice')
  }
)

t.test('a process that knows of a deletion which a failover took back writes on', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  await append(store, room, 'ann', 'first')
  const [first] = await tailOf(cluster, room)
  await store.deletions.delete(room)
  t.match(await append(store, room, 'ann', 'after the deletion'), { message: { seq: 3 } })
  await cluster.command(roomSlot(room), ['DEL', logKey(room), deletedKey(room)])
  const entry = ['XADD', logKey(room), '0-1', 'r', first?.reference ?? '']
  await cluster.command(roomSlot(room), entry)
  t.match(await append(store, room, 'ann', 'plain'), { message: { seq: 2 } })
  t.match(await append(store, room, 'ann', 'with a key', 'key'), { message: { seq: 3 } })
  const generations = (await tailOf(cluster, room)).map(({ reference }) =>
    reference?.split('/')[0]?.split(':').at(1)
  )
  t.strictSame(generations, [undefined, undefined, undefined])
})
