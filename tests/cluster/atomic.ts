// Servers that move slots atomically (Valkey 9, Redis 8.4 and later): the cluster command lets them
// do it, and the service keeps working when an operator does it by hand. Every keyed POST is stored
// once, and no reader misses a frame.
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { atomicWay, moveAtomically } from '../../src/cli/cluster/atomic.js'
import { type ClusterMap, type MapNode } from '../../src/cli/cluster/map.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { roomSlot } from '../../src/store/keys.js'
import { freshRoom, post, readAll, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const ROOMS = 6
const WRITERS = 3

const cluster = await startCluster(t)
const admin = await Admin.connect(redisTarget(cluster.urls))
t.teardown(() => {
  admin.close()
})
const [one, other] = (await admin.look()).masters as [MapNode, MapNode]
const way = await atomicWay(admin, one, other)
const skip = way === undefined && 'this server cannot move slots by itself'

/**
 * Moves slots while messages with keys are posted and read, until `work` is done. Then everything
 * must be there once, and in order.
 */
async function underLoad(
  t: Test,
  work: (rooms: readonly string[]) => Promise<void>
): Promise<void> {
  const service = await startService(t, { redisNodes: cluster.urls })
  const reading = await startService(t, { redisNodes: cluster.urls })
  const rooms = sequence(1, ROOMS).map(() => freshRoom())
  const readers = rooms.map(room => openSse(t, `${reading.url}/rooms/${room}/events`))
  await Promise.all(readers.map(reader => reader.isLive()))
  const load = { isOver: false }
  const posted = new Map(rooms.map(room => [room, new Set<string>()]))
  const refused: number[] = []
  const writing = rooms.flatMap(room =>
    sequence(1, WRITERS).map(async writer => {
      for (let n = 1; !load.isOver; n++) {
        const text = `${writer}-${n}`
        for (;;) {
          const { status } = await post(service.url, room, `writer-${writer}-${room}`, text, {
            'idempotency-key': text
          })
          if (status === 201 || status === 200) break
          refused.push(status)
        }
        posted.get(room)?.add(text)
      }
    })
  )
  await until('it is under way', () => [...posted.values()].every(texts => texts.size > 10))
  await work(rooms)
  const before = [...posted.values()].map(({ size }) => size)
  await until('it goes on', () =>
    [...posted.values()].every(({ size }, index) => size > (before[index] ?? 0) + 10)
  )
  load.isOver = true
  await Promise.all(writing)
  t.same(refused, [], 'no POST was refused')
  for (const [index, room] of rooms.entries()) {
    const texts = (await readAll(service.url, room)).map(message => String(message['text']))
    t.strictSame(
      [...texts].sort(),
      [...(posted.get(room) ?? [])].sort(),
      'every message is stored once'
    )
    await readers[index]?.sees(
      'all messages',
      () => (readers[index]?.seqs.length ?? 0) >= texts.length
    )
    t.strictSame(
      readers[index]?.seqs,
      sequence(1, texts.length),
      'a reader got each message once, in order'
    )
    t.notOk(readers[index]?.events.some(({ event }) => event === 'reset' || event === 'lost'))
  }
}

const slotsAt = (map: ClusterMap, node: MapNode): number[] => map.slotsOf(node.id)

t.test('an operator moves slots by hand, there and back, and nobody notices', { skip }, async t => {
  await underLoad(t, async rooms => {
    for (const round of [1, 2]) {
      const map = await admin.look()
      // Nearly all slots of one master are moved (without any it would become a replica), then half
      // of what the other master has.
      const [from, to] = round === 1 ? [one, other] : [other, one]
      const slots =
        round === 1
          ? slotsAt(map, from).slice(1)
          : slotsAt(map, from).slice(0, slotsAt(map, from).length / 2)
      await moveAtomically(admin, way ?? 'valkey', slots, from, to)
      await admin.until(
        after => (after.disputed.length > 0 ? 'all nodes agree' : undefined),
        10_000
      )
      const now = await admin.look()
      t.ok(
        slots.every(slot => now.ownerOf(slot) === to.id),
        `${slots.length} slots, ${rooms.filter(room => slots.includes(roomSlot(room))).length} rooms`
      )
    }
  })
})

t.test(
  'the cluster command lets the servers move slots, in a few jobs and without marks',
  { skip },
  async t => {
    await underLoad(t, async () => {
      const map = await admin.look()
      const moves = slotsAt(map, one)
        .slice(0, 1200)
        .map(slot => ({ slot, from: one.id, to: other.id }))
      let marks = 0
      const watching = setInterval(() => {
        admin.look().then(
          ({ masters }) => {
            for (const { migrating, importing } of masters) marks += migrating.size + importing.size
          },
          () => undefined
        )
      }, 100)
      const lines: string[] = []
      const result = await moveSlots(admin, moves, {
        report: line => {
          lines.push(line)
        }
      })
      clearInterval(watching)
      t.match(result, { isComplete: true, slotsDone: 1200, retries: 0 }, lines.join('; '))
      t.equal(marks, 0)
      const now = await admin.look()
      t.ok(moves.every(({ slot }) => now.ownerOf(slot) === other.id))
    })
  }
)

t.test(
  'slots that were left half-moved are finished, and their keys are not overwritten',
  { skip },
  async t => {
    const slot = slotsAt(await admin.look(), other)[0] ?? 0
    await admin.ask(one, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', other.id)
    await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', one.id)
    t.match(await moveSlots(admin, [{ slot, from: other.id, to: one.id }]), { isComplete: true })
    const map = await admin.look()
    t.equal(map.ownerOf(slot), one.id)
    t.equal(
      map.masters.reduce(
        (sum, { migrating, importing }) => sum + migrating.size + importing.size,
        0
      ),
      0
    )
  }
)
