// The store on a real cluster: numbers and blocks, repeated idempotency keys, its limits, and every
// way in which Redis may refuse.
import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { blockKey, logKey, onceKey, roomSlot, segmentKey } from '../../src/store/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { isMessage, parseReference } from '../../src/message/message.js'
import { type Store } from '../../src/store/store.js'
import { freshRoom, sequence } from '../support/client.js'
import { clockOf } from '../support/clock.js'
import { startCluster } from '../support/embedded.js'
import { Gate } from '../support/gate.js'
import { append, appendMany, connectTo, openStore, readAll } from '../support/store.js'
import { until } from '../support/until.js'

const embedded = await startCluster(t)
const masters = embedded.nodes.slice(0, 3)

/** A user whom no other test has: blocks are counted per user, over all rooms. */
const freshUser = (): string => freshRoom().replace('room', 'user')

/** Sends one command to one node, without the service's own connections. */
async function tell(node: EmbeddedNode, ...words: string[]): Promise<unknown> {
  const client = await connect(node.url)
  try {
    return await client.sendCommand(words)
  } finally {
    await client.disconnect()
  }
}

const nodeOf = (cluster: Cluster, slot: number): EmbeddedNode | undefined =>
  embedded.nodes.find(({ url }) => url.endsWith(cluster.topology.ownerOf(slot) ?? '?'))

const textsOf = async (store: Store, room: string): Promise<Array<string | undefined>> =>
  (await readAll(store, room)).map(entry => (isMessage(entry) ? entry.text : undefined))

const lengthOf = async (cluster: Cluster, key: string): Promise<number> =>
  Number(await cluster.command(slotOf(key), ['XLEN', key]))

t.test(
  'five thousand messages of one user are five blocks of exactly a thousand, spread over the shards',
  async t => {
    const { store, cluster } = await openStore(t, embedded)
    const [room, user] = [freshRoom(), freshUser()]
    const messages = await appendMany(store, room, user, 5000)
    t.strictSame(
      messages.map(({ seq }) => seq),
      sequence(1, 5000)
    )
    const blocks = await store.blocks.all(room)
    t.strictSame(
      blocks.map(({ key, messages }) => [key, messages]),
      sequence(0, 4).map(block => [`${room}.{${user}.${block}}`, 1000])
    )
    for (const { key, slot, shard } of blocks) {
      const node = nodeOf(cluster, slot)
      t.equal(
        node === undefined ? undefined : await tell(node, 'CLUSTER', 'KEYSLOT', key),
        slot,
        'Redis agrees about the slot'
      )
      t.equal(shard, `127.0.0.1:${node?.port}`)
      t.equal(node === undefined ? undefined : await tell(node, 'XLEN', key), 1000, 'and has it')
    }
    t.strictSame((await store.users.page(room, undefined, 1000)).users, [{ user, messages: 5000 }])
  }
)

t.test(
  'a message waits for replicas twice: for its text and for its place in the order',
  async t => {
    const { store } = await openStore(t, embedded)
    const [room, user] = [freshRoom(), freshUser()]
    const waits = async (): Promise<number> => {
      const stats = await Promise.all(masters.map(node => tell(node, 'INFO', 'commandstats')))
      return stats.reduce<number>(
        (sum, text) => sum + Number(/cmdstat_wait:calls=(\d+)/.exec(String(text))?.[1] ?? 0),
        0
      )
    }
    await append(store, room, user, 'first') // makes the user a member
    await store.settled()
    const before = await waits()
    const COUNT = 10
    for (let index = 0; index < COUNT; index++) await append(store, room, user, `text ${index}`)
    await store.settled()
    t.equal((await waits()) - before, 2 * COUNT, 'numbers and publications wait for no replica')
  }
)

t.test(
  "a user's messages are numbered over all rooms: no block number is used for more messages than a block holds",
  async t => {
    const { store } = await openStore(t, embedded, { blockLength: 10 })
    const user = freshUser()
    const rooms = [freshRoom(), freshRoom(), freshRoom()]
    await Promise.all(rooms.map(room => appendMany(store, room, user, 40)))
    const lengths = new Map<string, number>()
    for (const room of rooms) {
      for (const { key, messages } of await store.blocks.all(room)) {
        lengths.set(key.slice(room.length), (lengths.get(key.slice(room.length)) ?? 0) + messages)
      }
    }
    t.strictSame(
      [...lengths.values()],
      sequence(1, 12).map(() => 10)
    )
  }
)

t.test('two processes never use a number twice', async t => {
  const [one, other] = await Promise.all([
    openStore(t, embedded, { blockLength: 10 }),
    openStore(t, embedded, { blockLength: 10 })
  ])
  const [room, user] = [freshRoom(), freshUser()]
  await Promise.all([
    appendMany(one.store, room, user, 100),
    appendMany(other.store, room, user, 100)
  ])
  const blocks = await one.store.blocks.all(room)
  t.ok(
    blocks.every(({ messages }) => messages <= 10),
    'no block is longer than BLOCK_LENGTH'
  )
  t.equal(
    blocks.reduce((sum, { messages }) => sum + messages, 0),
    200
  )
  t.strictSame((await one.store.users.page(room, undefined, 1000)).users, [{ user, messages: 200 }])
})

t.test('users are listed by their number of messages, then by name', async t => {
  const { store } = await openStore(t, embedded)
  const room = freshRoom()
  t.strictSame((await store.users.page(room, undefined, 1000)).users, [])
  t.strictSame(await store.blocks.all(room), [])
  for (const [user, count] of [
    ['bob', 1],
    ['zoe', 2],
    ['ann', 1],
    ['ผู้ใช้', 3]
  ] as const) {
    await appendMany(store, room, user, count)
  }
  t.strictSame((await store.users.page(room, undefined, 1000)).users, [
    { user: 'ผู้ใช้', messages: 3 },
    { user: 'zoe', messages: 2 },
    { user: 'ann', messages: 1 },
    { user: 'bob', messages: 1 }
  ])
})

t.test('stored messages are published in the order of their sequences, each once', async t => {
  const { store, published } = await openStore(t, embedded)
  const room = freshRoom()
  const messages = await appendMany(store, room, 'ann', 1000)
  await store.appender.settled()
  t.strictSame(published, messages)
})

t.test(
  'in a large group that takes Redis longer than a millisecond, every text stays with its message',
  async t => {
    const { store } = await openStore(t, embedded)
    const room = freshRoom()
    // 256 texts of 16 KB go to one block in one step, which takes Redis several ms.
    const sent = new Map<number, string>()
    await Promise.all(
      Array.from({ length: 256 }, async (_, index) => {
        const text = `${index} ${'x'.repeat(16_000)}`
        const { message } = await append(store, room, 'ann', text)
        sent.set(message.seq, text)
      })
    )
    const entries = await readAll(store, room)
    t.equal(entries.length, 256)
    t.strictSame(
      entries
        .filter(entry => !isMessage(entry) || sent.get(entry.seq) !== entry.text)
        .map(({ seq }) => seq),
      [],
      "none is lost or has another's text"
    )
  }
)

t.test('idempotency keys', async t => {
  t.test('simultaneous repeats in one process store one message, and all get it', async t => {
    const { store } = await openStore(t, embedded)
    const room = freshRoom()
    const appended = await Promise.all(
      sequence(1, 50).map(() => append(store, room, 'ann', 'hello', 'k'))
    )
    t.equal(appended.filter(({ isNew }) => isNew).length, 1)
    for (const { message } of appended) t.strictSame(message, appended[0]?.message)
    t.strictSame(await textsOf(store, room), ['hello'])
  })

  t.test(
    'a repeat is answered with the first message, also by another process, and is published again',
    async t => {
      const [one, other] = await Promise.all([openStore(t, embedded), openStore(t, embedded)])
      const room = freshRoom()
      const first = await append(one.store, room, 'ann', 'hello', 'k')
      t.ok(first.isNew)
      for (const { store, published } of [one, other]) {
        t.strictSame(await append(store, room, 'ann', 'hello', 'k'), {
          message: first.message,
          isNew: false
        })
        t.strictSame(
          published.at(-1),
          first.message,
          'the first process may have died before it published'
        )
      }
      t.equal(await one.store.head(room), 1)
    }
  )

  t.test('an idempotency key applies to its room only', async t => {
    const { store } = await openStore(t, embedded)
    for (const room of [freshRoom(), freshRoom()]) {
      t.match(await append(store, room, 'ann', 'hello', 'k'), { isNew: true, message: { seq: 1 } })
    }
  })

  t.test(
    'of two processes that both found the key unused, one commits and the other removes its entry',
    async t => {
      const gate = await Gate.open(t, embedded.urls)
      const [slow, other] = await Promise.all([
        openStore(t, embedded, {}, { addressMap: gate.addressMap }),
        openStore(t, embedded)
      ])
      const [room, user] = [freshRoom(), freshUser()]
      gate.hold(onceKey(room, 'k'))
      const late = append(slow.store, room, user, 'hello', 'k')
      await until('it has looked for the key', () => gate.heldBytes > 0)
      const first = await append(other.store, room, user, 'hello', 'k')
      gate.release()
      t.strictSame(await late, { message: first.message, isNew: false })
      t.equal(await other.store.head(room), 1)
      await until(
        'only the committed entry is left',
        async () => (await lengthOf(other.cluster, blockKey(room, `${user}.0`))) === 1
      )
      t.strictSame(slow.faults, [])
    }
  )

  t.test(
    'the same key with another user or text is a conflict, whether at the same time or later',
    async t => {
      const { store } = await openStore(t, embedded)
      const room = freshRoom()
      const [first, ...others] = await Promise.allSettled([
        append(store, room, 'ann', 'hello', 'k'),
        append(store, room, 'bob', 'hello', 'k'),
        append(store, room, 'ann', 'bye', 'k')
      ])
      t.match(first, { status: 'fulfilled' })
      for (const other of others) {
        t.match(other, {
          status: 'rejected',
          reason: { code: 'IDEMPOTENCY_CONFLICT', statusCode: 409 }
        })
      }
      await t.rejects(append(store, room, 'bob', 'hello', 'k'), { code: 'IDEMPOTENCY_CONFLICT' })
      await t.rejects(append(store, room, 'ann', 'hello ', 'k'), { code: 'IDEMPOTENCY_CONFLICT' })
      t.strictSame(await textsOf(store, room), ['hello'])
    }
  )

  t.test('if a process dies after the commit, a repeat elsewhere finds the message', async t => {
    const gate = await Gate.open(t, embedded.urls)
    const [dying, other] = await Promise.all([
      openStore(t, embedded, {}, { addressMap: gate.addressMap }),
      openStore(t, embedded)
    ])
    const [room, user] = [freshRoom(), freshUser()]
    // A message with a key, so that the node knows the script. Otherwise the answer that asks for
    // the script would be held back.
    await append(dying.store, room, user, 'before', 'k0')
    gate.hold(logKey(room))
    const lost = append(dying.store, room, user, 'hello', 'k')
    await until('it is committed', async () => (await other.store.head(room)) === 2)
    dying.cluster.close()
    await t.rejects(lost, { code: 'STORE_UNAVAILABLE' })
    t.match(await append(other.store, room, user, 'hello', 'k'), {
      isNew: false,
      message: { seq: 2, text: 'hello' }
    })
    t.strictSame(await textsOf(other.store, room), ['before', 'hello'])
  })

  t.test(
    'after a process died before the commit, the repeat becomes the message, and an orphan remains',
    async t => {
      const gate = await Gate.open(t, embedded.urls)
      const [dying, other] = await Promise.all([
        openStore(t, embedded, {}, { addressMap: gate.addressMap }),
        openStore(t, embedded)
      ])
      const [room, user] = [freshRoom(), freshUser()]
      const block = blockKey(room, `${user}.0`)
      gate.hold(block)
      const lost = append(dying.store, room, user, 'hello', 'k')
      await until('it is in its block', async () => (await lengthOf(other.cluster, block)) === 1)
      dying.cluster.close()
      await t.rejects(lost, { code: 'STORE_UNAVAILABLE' })
      t.match(await append(other.store, room, user, 'hello', 'k'), {
        isNew: true,
        message: { seq: 1 }
      })
      t.equal(await lengthOf(other.cluster, block), 2)
      t.strictSame(await textsOf(other.store, room), ['hello'])
    }
  )

  t.test('a commit whose reply was lost is found by its key, and is answered as new', async t => {
    const gate = await Gate.open(t, embedded.urls)
    const { store } = await openStore(t, embedded, {}, { addressMap: gate.addressMap })
    const room = freshRoom()
    // A message with a key, so that the node knows the script. Otherwise its request for the script
    // would be held back.
    await append(store, room, 'ann', 'before', 'k0')
    gate.hold(logKey(room))
    const appended = append(store, room, 'ann', 'hello', 'k')
    await until('it is committed, and its answer is held back', () => gate.heldBytes > 0)
    gate.cut()
    t.match(await appended, { isNew: true, message: { seq: 2 } })
    t.strictSame(await textsOf(store, room), ['before', 'hello'])
  })

  t.test('a lost message comes back when it is repeated', async t => {
    const { store, cluster } = await openStore(t, embedded)
    const [room, user] = [freshRoom(), freshUser()]
    const { message } = await append(store, room, user, 'hello', 'k')
    await cluster.command(slotOf(blockKey(room, `${user}.0`)), ['DEL', blockKey(room, `${user}.0`)])
    t.match(await store.message(room, 1), { lost: true })
    await t.rejects(append(store, room, 'somebody else', 'hello', 'k'), {
      code: 'IDEMPOTENCY_CONFLICT'
    })
    t.strictSame(await append(store, room, user, 'hello', 'k'), { message, isNew: false })
    t.strictSame(await store.message(room, 1), message)
  })

  t.test('it comes back in its place, even if its block has grown since', async t => {
    const { store, cluster } = await openStore(t, embedded)
    const [room, user] = [freshRoom(), freshUser()]
    await append(store, room, user, 'one')
    const { message } = await append(store, room, user, 'two', 'k')
    await appendMany(store, room, user, 20)
    const before = await readAll(store, room)
    const { id, tag } = parseReference((await store.log.range(room, 2, 2))[0]?.reference ?? '')
    await cluster.command(slotOf(blockKey(room, tag)), ['XDEL', blockKey(room, tag), id])
    t.match(await store.message(room, 2), { lost: true })
    t.strictSame(await append(store, room, user, 'two', 'k'), { message, isNew: false })
    t.strictSame(await readAll(store, room), before)
    t.equal(await lengthOf(cluster, blockKey(room, tag)), 22)
  })

  t.test('a message whose log entry was lost is reported as lost', async t => {
    const { store, cluster } = await openStore(t, embedded, { segmentLength: 16 })
    const room = freshRoom()
    await append(store, room, 'ann', 'hello', 'k')
    await appendMany(store, room, 'ann', 50)
    await store.sealer.seal(room)
    await cluster.command(slotOf(segmentKey(room, 0)), ['DEL', segmentKey(room, 0)])
    await t.rejects(append(store, room, 'ann', 'hello', 'k'), {
      code: 'MESSAGE_LOST',
      statusCode: 410
    })
  })

  t.test(
    'a change of a lost message is told so before the deadline, whatever the patience',
    async t => {
      const { store, cluster } = await openStore(t, embedded, {
        storeDeadlineMs: 2000,
        lostPatienceMs: 2000
      })
      const room = freshRoom()
      await append(store, room, 'ann', 'hello')
      const { tag } = parseReference((await store.log.range(room, 1, 1))[0]?.reference ?? '')
      await cluster.command(slotOf(blockKey(room, tag)), ['DEL', blockKey(room, tag)])
      await t.rejects(
        store.change({ room, seq: 1, text: 'changed', author: undefined, once: undefined }),
        { code: 'MESSAGE_LOST', statusCode: 410 }
      )
    }
  )

  t.test('a message beyond the end of the log is out of reach, and is not called lost', async t => {
    const { store, cluster } = await openStore(t, embedded)
    const room = freshRoom()
    await append(store, room, 'ann', 'before')
    await append(store, room, 'ann', 'hello', 'k')
    await cluster.command(roomSlot(room), ['XDEL', logKey(room), '0-2'])
    await t.rejects(append(store, room, 'ann', 'hello', 'k'), {
      code: 'STORE_UNAVAILABLE',
      statusCode: 503
    })
    await cluster.command(roomSlot(room), ['DEL', logKey(room)])
    await t.rejects(append(store, room, 'ann', 'hello', 'k'), {
      code: 'STORE_UNAVAILABLE',
      statusCode: 503
    })
  })

  t.test(
    'if the acknowledgement of a repeat is lost with its connection, it is acknowledged again before the answer',
    async t => {
      const gate = await Gate.open(t, embedded.urls)
      const [cut, other] = await Promise.all([
        openStore(t, embedded, {}, { addressMap: gate.addressMap }),
        openStore(t, embedded)
      ])
      const room = freshRoom()
      const { message } = await append(cut.store, room, 'ann', 'hello', 'k')
      const owner = nodeOf(other.cluster, roomSlot(room))
      const replica = embedded.nodes.find(
        ({ port }) =>
          port ===
          other.cluster.topology.livingReplicasOf(`127.0.0.1:${owner?.port}`)[0]?.address.port
      )
      t.ok(owner !== undefined && replica !== undefined)
      if (owner === undefined || replica === undefined) return
      await replica.kill('SIGSTOP')
      t.teardown(() => replica.kill('SIGCONT'))
      const repeated = append(cut.store, room, 'ann', 'hello', 'k')
      await until('it waits for the replica', async () =>
        String(await tell(owner, 'INFO', 'clients')).includes('blocked_clients:1')
      )
      gate.cut()
      await replica.kill('SIGCONT')
      t.strictSame(await repeated, { message, isNew: false })
    }
  )

  t.test('an idempotency key is forgotten after its time, and not before', async t => {
    const { store, cluster } = await openStore(t, embedded, { idempotencyTtlS: 3 })
    const room = freshRoom()
    await append(store, room, 'ann', 'hello', 'k')
    const owner = nodeOf(cluster, roomSlot(room))
    t.ok(owner !== undefined && Number(await tell(owner, 'PTTL', onceKey(room, 'k'))) > 0)
    t.match(await append(store, room, 'ann', 'hello', 'k'), { isNew: false })
    await until(
      'the key has expired',
      async () => (await cluster.command(roomSlot(room), ['EXISTS', onceKey(room, 'k')])) === 0
    )
    t.match(await append(store, room, 'ann', 'hello', 'k'), { isNew: true, message: { seq: 2 } })
  })
})

t.test(
  'a message that a failover took before a replica had it is put back before it is acknowledged',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    // Several connections: number, entry and commit may lie on the same shard, and none may wait
    // for the acknowledgement of another.
    const cut = await openStore(
      t,
      embedded,
      {},
      { addressMap: gate.addressMap, writeConnections: 4 }
    )
    const other = await openStore(t, embedded, {}, { replicaAcks: 0 })
    const [room, user] = [freshRoom(), freshUser()]
    await append(cut.store, room, user, 'first')
    const block = blockKey(room, `${user}.0`)
    const replica = embedded.nodes.find(
      ({ port }) =>
        port ===
        other.cluster.topology.livingReplicasOf(
          other.cluster.topology.ownerOf(slotOf(block)) ?? ''
        )[0]?.address.port
    )
    t.ok(replica)
    await replica?.kill('SIGSTOP')
    t.teardown(() => replica?.kill('SIGCONT'))
    const appended = append(cut.store, room, user, 'second')
    await until(
      'it is committed, and its entry waits for the replica',
      async () => (await other.store.head(room)) === 2
    )
    // Does what a failover would do, as far as the writer can tell: its entry is gone, and the
    // block has grown.
    await other.cluster.command(slotOf(block), [
      'XDEL',
      block,
      parseReference((await other.store.log.range(room, 2, 2))[0]?.reference ?? '').id
    ])
    await append(other.store, room, user, 'third')
    gate.cut()
    await replica?.kill('SIGCONT')
    t.match(await appended, { message: { seq: 2, text: 'second' }, isNew: true })
    t.strictSame(await textsOf(other.store, room), ['first', 'second', 'third'])
  }
)

t.test(
  'the queue is bounded: up to its length messages are accepted, one more is refused at once, and no accepted message is lost',
  async t => {
    const gate = await Gate.open(t, embedded.urls)
    const { store } = await openStore(
      t,
      embedded,
      { queueLengthMax: 5 },
      { addressMap: gate.addressMap }
    )
    const room = freshRoom()
    await append(store, room, 'ann', 'before')
    gate.hold('')
    const taken = sequence(1, 4).map(n => append(store, room, 'ann', `taken ${n}`))
    t.equal(store.queueLength, 4)
    taken.push(append(store, room, 'ann', 'taken 5'))
    t.equal(store.queueLength, 5)
    await t.rejects(append(store, room, 'bob', 'refused'), { code: 'OVERLOADED', statusCode: 503 })
    await t.rejects(append(store, freshRoom(), 'bob', 'refused'), { code: 'OVERLOADED' })
    gate.release()
    await Promise.all(taken)
    t.equal(store.queueLength, 0)
    await append(store, room, 'ann', 'after')
    t.strictSame((await textsOf(store, room)).toSorted(), [
      'after',
      'before',
      ...sequence(1, 5).map(n => `taken ${n}`)
    ])
  }
)

t.test('the queue is bounded in bytes as well', async t => {
  const gate = await Gate.open(t, embedded.urls)
  const { store } = await openStore(
    t,
    embedded,
    { queueBytesMax: 10_000 },
    { addressMap: gate.addressMap }
  )
  const room = freshRoom()
  await append(store, room, 'ann', 'before')
  gate.hold('')
  const taken = append(store, room, 'ann', 'x'.repeat(4000))
  await t.rejects(append(store, room, 'ann', 'y'), { code: 'OVERLOADED' })
  gate.release()
  await taken
  t.equal((await append(store, room, 'ann', 'after')).message.seq, 3)
})

t.test('messages with a key wait in the same queue from the lookup of their key on', async t => {
  const gate = await Gate.open(t, embedded.urls)
  const { store } = await openStore(
    t,
    embedded,
    { queueLengthMax: 3 },
    { addressMap: gate.addressMap }
  )
  const room = freshRoom()
  await append(store, room, 'ann', 'before', 'k0')
  gate.hold('')
  const taken = [
    append(store, room, 'ann', 'one', 'k1'),
    append(store, room, 'ann', 'two', 'k2'),
    append(store, room, 'ann', 'two', 'k2')
  ]
  await t.rejects(append(store, room, 'ann', 'refused', 'k3'), { code: 'OVERLOADED' })
  gate.release()
  await Promise.all(taken)
  t.match(await append(store, room, 'ann', 'refused', 'k3'), { isNew: true, message: { seq: 4 } })
})

t.test(
  'whatever hangs, an answer comes by the deadline, and the place in the queue is taken until the work has ended',
  async t => {
    for (const [held, once] of [
      ['GET', 'k'],
      ['INCRBY', undefined],
      ['XADD', undefined],
      ['EVALSHA', undefined],
      ['WAIT', undefined],
      ['EVALSHA', 'k2']
    ] as const) {
      const gate = await Gate.open(t, embedded.urls)
      // Only the answer has such a short deadline, not the connection.
      const { store } = await openStore(
        t,
        embedded,
        { storeDeadlineMs: 400 },
        { addressMap: gate.addressMap, storeDeadlineMs: 10_000 }
      )
      const [room, user] = [freshRoom(), freshUser()]
      await until('it is warm', () =>
        append(store, room, freshUser(), 'before').then(
          () => true,
          () => false
        )
      )
      gate.hold(held)
      const begun = performance.now()
      // A timer runs alongside: whatever delay the machine adds, it adds to both.
      const control = sleep(400).then(() => performance.now() - begun)
      await t.rejects(
        append(store, room, user, 'hello', once),
        { code: 'STORE_UNAVAILABLE', statusCode: 503 },
        held
      )
      const [tookMs, controlMs] = [performance.now() - begun, await control]
      t.ok(
        tookMs > 350 && tookMs < controlMs + 500,
        `${Math.round(tookMs)} ms for ${held}, a timer ${Math.round(controlMs)} ms`
      )
      gate.release()
      await until('the queue is empty again', () => store.queueLength === 0)
    }
  }
)

t.test(
  'a full store says so, keeps what it has, and accepts messages when there is room again',
  async t => {
    const { store, cluster } = await openStore(t, embedded)
    const room = freshRoom()
    const user = freshUser()
    await append(store, room, user, 'before')
    const block = blockKey(room, `${user}.0`)
    for (const [what, full] of [
      ['every shard', masters],
      ['the shard of the log', [nodeOf(cluster, roomSlot(room))]],
      ['the shard of the block', [nodeOf(cluster, slotOf(block))]]
    ] as const) {
      await Promise.all(
        full.map(node =>
          node === undefined ? undefined : tell(node, 'CONFIG', 'SET', 'maxmemory', '1')
        )
      )
      const begun = performance.now()
      // Several messages: a single one goes to its block without a script, and a lease may spare
      // the counter.
      const refused = await Promise.allSettled([
        ...sequence(1, 3).map(() => append(store, room, user, 'refused')),
        append(store, room, user, 'refused', `k ${what}`)
      ])
      for (const outcome of refused) {
        t.match(
          outcome,
          { status: 'rejected', reason: { code: 'STORE_FULL', statusCode: 503 } },
          what
        )
      }
      t.ok(performance.now() - begun < 8000, 'before the deadline')
      t.strictSame(await textsOf(store, room), ['before'], 'reading goes on')
      await Promise.all(
        full.map(node =>
          node === undefined ? undefined : tell(node, 'CONFIG', 'SET', 'maxmemory', '0')
        )
      )
    }
    t.equal((await append(store, room, user, 'after')).message.seq, 2)
    t.strictSame((await store.users.page(room, undefined, 1000)).users, [{ user, messages: 2 }])
  }
)

t.test('a store that cannot write to its disk says that it is read-only', async t => {
  const { store, cluster } = await openStore(t, embedded)
  const room = freshRoom()
  await append(store, room, 'ann', 'before')
  const node = nodeOf(cluster, roomSlot(room))
  t.ok(node)
  if (node === undefined) return
  // A directory where the snapshot should be makes saving fail, even for root.
  const blocker = join(node.dir, 'dump.rdb')
  const saved = async (status: string): Promise<void> => {
    // SCHEDULE: if the append-only file is being rewritten, saving follows right after that.
    await tell(node, 'BGSAVE', 'SCHEDULE')
    await until(`saving ends with ${status}`, async () =>
      String(await tell(node, 'INFO', 'persistence')).includes(`rdb_last_bgsave_status:${status}`)
    )
  }
  mkdirSync(blocker)
  await tell(node, 'CONFIG', 'SET', 'save', '3600 1')
  await saved('err')
  await t.rejects(append(store, room, 'ann', 'refused'), {
    code: 'STORE_READ_ONLY',
    statusCode: 503
  })
  await t.rejects(append(store, room, 'ann', 'refused', 'k'), { code: 'STORE_READ_ONLY' })
  t.strictSame(await textsOf(store, room), ['before'])
  rmdirSync(blocker)
  await saved('ok')
  await tell(node, 'CONFIG', 'SET', 'save', '')
  t.equal((await append(store, room, 'ann', 'after')).message.seq, 2)
})

t.test('a wrong password is refused at once, not at the deadline', async t => {
  await Promise.all(
    embedded.nodes.map(node =>
      tell(node, 'ACL', 'SETUSER', 'dialogs', 'on', '>secret', '~*', '&*', '+@all')
    )
  )
  const { store } = await openStore(t, embedded, {}, { username: 'dialogs', password: 'secret' })
  const room = freshRoom()
  t.equal((await append(store, room, 'ann', 'hello')).message.seq, 1)
  const begun = performance.now()
  await t.rejects(connectTo(t, embedded.urls, { username: 'dialogs', password: 'wrong' }), {
    code: 'STORE_DENIED'
  })
  await t.rejects(connectTo(t, embedded.urls, { username: 'nobody', password: 'secret' }), {
    code: 'STORE_DENIED'
  })
  t.ok(performance.now() - begun < 8000)
})

t.test('a Redis user that loses a permission is refused until it is given back', async t => {
  const rights = (...rules: string[]): Promise<unknown> =>
    Promise.all(
      embedded.nodes.map(node =>
        tell(node, 'ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '&*', '+@all', ...rules)
      )
    )
  await rights()
  const { store } = await openStore(t, embedded, {}, { username: 'limited', password: 'secret' })
  const room = freshRoom()
  await append(store, room, 'ann', 'before')
  await rights('-xadd')
  await t.rejects(append(store, room, 'ann', 'refused'), {
    code: 'STORE_DENIED',
    statusCode: 503
  })
  await rights('+xadd')
  t.equal((await append(store, room, 'ann', 'after')).message.seq, 2)
})

t.test('without a cluster, a clear error comes within the deadline', async t => {
  const begun = performance.now()
  await t.rejects(connectTo(t, ['redis://127.0.0.1:1'], { storeDeadlineMs: 300 }), {
    code: 'STORE_UNAVAILABLE',
    message: /127\.0\.0\.1:1/
  })
  t.ok(performance.now() - begun < 5000)
})

t.test(
  'a deleted log is started again after it was missing for half a minute without a break',
  async t => {
    const advance = clockOf(t)
    for (const once of [undefined, 'k']) {
      const { store, cluster } = await openStore(t, embedded, { storeDeadlineMs: 1000 })
      const room = freshRoom()
      await appendMany(store, room, 'ann', 3)
      await cluster.command(roomSlot(room), ['DEL', logKey(room)])
      for (const laterMs of [0, 3_600_000, 20_000]) {
        advance(laterMs)
        await t.rejects(
          append(store, room, 'ann', 'waits', once),
          { code: 'STORE_UNAVAILABLE' },
          `${laterMs} ms later`
        )
      }
      advance(10_000)
      t.equal((await append(store, room, 'ann', 'begins it', once)).message.seq, 1)
      t.equal((await append(store, room, 'ann', 'goes on')).message.seq, 2)
    }
  }
)

t.test('scripts that Redis has forgotten are sent again', async t => {
  const { store } = await openStore(t, embedded, { segmentLength: 16 })
  const room = freshRoom()
  for (const n of sequence(1, 5)) {
    await Promise.all(masters.map(node => tell(node, 'SCRIPT', 'FLUSH')))
    await Promise.all([
      appendMany(store, room, 'ann', 10),
      append(store, room, 'bob', 'keyed', `k${n}`)
    ])
    await Promise.all(masters.map(node => tell(node, 'SCRIPT', 'FLUSH')))
    await store.sealer.seal(room)
  }
  t.equal(await store.head(room), 55)
  t.notOk((await textsOf(store, room)).includes(undefined))
})

/**
 * While the work runs, kills every client's connections again and again, and returns how many
 * times. The pauses grow from 50 ms on, because a busy machine needs longer to connect again.
 */
async function whileConnectionsAreCut(work: () => Promise<unknown>): Promise<number> {
  let times = 0
  const over = new AbortController()
  const cutting = (async () => {
    for (; !over.signal.aborted; times++) {
      await Promise.all(
        embedded.nodes.map(node => tell(node, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'))
      )
      await sleep(50 + 10 * times)
    }
  })()
  await Promise.all([
    work().finally(() => {
      over.abort()
    }),
    cutting
  ])
  return times
}

t.test(
  'while connections are cut again and again, every message is acknowledged, and none is lost or repeated',
  async t => {
    const stores = [
      await openStore(t, embedded, { segmentLength: 16 }),
      await openStore(t, embedded, { segmentLength: 16 })
    ] as const
    const rooms = [freshRoom(), freshRoom()]
    const seqs = new Map<string, number>()
    const write = async (
      store: Store,
      room: string,
      user: string,
      prefix: string
    ): Promise<void> => {
      for (const n of sequence(1, 60)) {
        const text = `${prefix} ${n}`
        const { message, isNew } = await append(
          store,
          room,
          user,
          text,
          n % 3 === 0 ? `${prefix}-${n}` : undefined
        )
        if (!isNew || message.text !== text) t.fail(`${text} got the answer of ${message.text}`)
        seqs.set(text, message.seq)
      }
    }
    const users = ['ann', 'bob', 'cyd']
    const times = await whileConnectionsAreCut(() =>
      Promise.all(
        stores.flatMap(({ store }, process) =>
          rooms.flatMap(room =>
            users.map(user => write(store, room, user, `${room}-${process}-${user}`))
          )
        )
      )
    )
    t.ok(times >= 2, `${times} times`)
    const [{ store, cluster }] = stores
    for (const room of rooms) {
      const texts = await textsOf(store, room)
      t.equal(texts.length, 360, 'each message is in the log')
      t.equal(new Set(texts).size, 360, 'once')
      t.strictSame(
        texts.filter((text, index) => seqs.get(text ?? '') !== index + 1),
        [],
        'where its answer said'
      )
      t.strictSame(
        (await store.users.page(room, undefined, 1000)).users,
        users.map(user => ({ user, messages: 120 }))
      )
      await store.sealer.seal(room)
      t.ok((await lengthOf(cluster, logKey(room))) <= 32)
    }
  }
)

t.test(
  'a storm of repeats from two processes, while connections are cut, stores as many messages as there are keys',
  async t => {
    const stores = [await openStore(t, embedded), await openStore(t, embedded)] as const
    const room = freshRoom()
    const seqs = new Map<string, Set<number>>()
    const storm = (wave: number): Promise<unknown> =>
      Promise.all(
        sequence(1, 1000).map(async index => {
          const key = `${wave}-${index % 100}`
          const { message } = await append(
            stores[index % 2 === 0 ? 0 : 1].store,
            room,
            'ann',
            key,
            key
          )
          seqs.set(message.text, (seqs.get(message.text) ?? new Set()).add(message.seq))
        })
      )
    const times = await whileConnectionsAreCut(async () => {
      for (const wave of sequence(1, 10)) await storm(wave)
    })
    t.ok(times >= 2, `${times} times`)
    t.equal(await stores[0].store.head(room), 1000)
    t.ok(
      [...seqs.values()].every(({ size }) => size === 1),
      'every repeat was answered with the same sequence'
    )
    t.strictSame(
      (await readAll(stores[0].store, room)).map(entry =>
        isMessage(entry) ? [...(seqs.get(entry.text) ?? [])] : undefined
      ),
      sequence(1, 1000).map(seq => [seq])
    )
  }
)
