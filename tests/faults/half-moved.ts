// The owner of a half-moved slot dies when a room's log has already moved. The replica that takes
// over knows nothing of the move, so the log seems to be gone. Nobody may start it again, or tell
// readers that it was rewound.
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { finishHalfMoved } from '../../src/cli/cluster/half-moved.js'
import { type MapNode } from '../../src/cli/cluster/map.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { roomSlot } from '../../src/store/keys.js'
import { freshRoom, post, postMany, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, {
  redisNodes: cluster.urls,
  env: { AUDIT_MS: '300', RING_LENGTH_MAX: '2' }
})
/** Sees the room for the first time when its log has gone, as a restarted process does. */
const stranger = await startService(t, { redisNodes: cluster.urls, env: { AUDIT_MS: '300' } })

type Move = { readonly slot: number; readonly owner: MapNode; readonly other: MapNode }

// Half a move: all keys of the room's slot go to another master, and both nodes keep their marks.
async function goAhead(admin: Admin, room: string): Promise<Move> {
  const slot = roomSlot(room)
  const map = await admin.look()
  const owner = map.nodes.get(map.ownerOf(slot) ?? '')
  const other = map.masters.find(({ id }) => id !== owner?.id)
  if (owner === undefined || other === undefined) throw new Error('The cluster has no two masters')
  await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
  // GETKEYSINSLOT returns a list of keys.
  for (const key of (await admin.ask(
    owner,
    'CLUSTER',
    'GETKEYSINSLOT',
    String(slot),
    '100'
  )) as readonly string[]) {
    await admin.ask(owner, 'MIGRATE', '127.0.0.1', String(other.address.port), key, '0', '1000')
  }
  return { slot, owner, other }
}

/** A failover takes longer than a process trusts its last look at the marks. */
const FAILOVER_MS = 1100

// The same, and the owner forgets the move, like a replica that has taken over; with `isForgotten`
// so does the other node.
async function hide(
  t: Test,
  room: string,
  isForgotten = false
): Promise<{ goOn: () => Promise<void> }> {
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  const { slot, owner, other } = await goAhead(admin, room)
  await new Promise(resolve => setTimeout(resolve, FAILOVER_MS))
  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  if (isForgotten) await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  return {
    goOn: async () => {
      if (isForgotten) {
        await until(
          'the slot is finished',
          async () => (await finishHalfMoved(admin))?.isComplete === true
        )
        return
      }
      await moveSlots(admin, [{ slot, from: owner.id, to: other.id }])
    }
  }
}

for (const [kind, headers] of [
  ['a message', {}],
  ['a message with a key', { 'idempotency-key': 'k' }]
] as const) {
  for (const [whose, writer] of [
    ['', service],
    [', even in a process that has never seen the room', stranger]
  ] as const) {
    t.test(
      `${kind} waits for a log that seems to be gone, and readers are told nothing${whose}`,
      async t => {
        const room = freshRoom()
        await postMany(service.url, room, 'ann', 3)
        const reader = openSse(t, `${service.url}/rooms/${room}/events`)
        await reader.isLive()
        const { goOn } = await hide(t, room)
        let answered = false
        const posting = post(writer.url, room, 'ann', 'the fourth', headers).finally(() => {
          answered = true
        })
        const joining = openSse(t, `${writer.url}/rooms/${room}/events`)
        // Several audits and attempts.
        await new Promise(resolve => setTimeout(resolve, 1500))
        t.notOk(answered)
        // Older than the ring, and later than any kept page.
        const late = openSse(t, `${service.url}/rooms/${room}/events`)
        await new Promise(resolve => setTimeout(resolve, 100))
        t.match(
          await request(`${service.url}/health/live`, { signal: AbortSignal.timeout(3000) }),
          { status: 200 }
        )
        t.notOk(reader.events.some(({ event }) => event === 'reset'))
        await goOn()
        t.match(await posting, { status: 201, body: { seq: 4 } })
        for (const each of [reader, joining, late]) {
          await each.sees('the fourth', () => each.seqs.length === 4)
          t.same(each.seqs, sequence(1, 4))
          t.notOk(each.events.some(({ event }) => event === 'reset'))
        }
      }
    )
  }
}

// Redis 8.6 does not count the keys of slots that a node neither owns nor imports.
const info = await Admin.connect(redisTarget(cluster.urls)).then(async admin => {
  const [master] = (await admin.look()).masters
  const text = master === undefined ? '' : String(await admin.ask(master, 'INFO', 'server'))
  admin.close()
  return text
})
const minor = Number(/^redis_version:8\.(\d+)/m.exec(info)?.[1] ?? 0)
const skip = minor >= 6 && 'Redis 8.6 and later hide such keys'

for (const [whose, writer] of [
  ['', service],
  [' by a process that has never seen the room', stranger]
] as const) {
  t.test(`a log whose move no node remembers is not begun anew${whose}`, { skip }, async t => {
    const room = freshRoom()
    await postMany(service.url, room, 'ann', 3)
    const { goOn } = await hide(t, room, true)
    t.match(await request(`${writer.url}/rooms/${room}/messages`), {
      status: 503,
      body: { code: 'STORE_UNAVAILABLE' }
    })
    let answered = false
    const posting = post(writer.url, room, 'ann', 'the fourth').finally(() => {
      answered = true
    })
    await new Promise(resolve => setTimeout(resolve, 1500))
    t.notOk(answered)
    await goOn()
    t.match(await posting, { status: 201, body: { seq: 4 } })
  })
}

t.test('a room whose log seems to be gone is never shown as empty', async t => {
  const room = freshRoom()
  await postMany(service.url, room, 'ann', 3)
  const { goOn } = await hide(t, room)
  const joining = openSse(t, `${stranger.url}/rooms/${room}/events`)
  for (const query of ['', '?after=0', '?before=3', '/2']) {
    t.match(
      await request(`${stranger.url}/rooms/${room}/messages${query}`),
      { status: 503, body: { code: 'STORE_UNAVAILABLE' } },
      query
    )
  }
  t.same(joining.events, [])
  await goOn()
  await joining.isLive()
  t.same(joining.seqs, sequence(1, 3))
})

t.test('a room that never existed starts at once, even in the same slot', async t => {
  const room = freshRoom()
  await postMany(service.url, room, 'ann', 3)
  const { goOn } = await hide(t, room)
  let other = freshRoom()
  while (roomSlot(other) !== roomSlot(room)) other = freshRoom()
  const begun = performance.now()
  t.match(await post(stranger.url, other, 'ann', 'first'), { status: 201, body: { seq: 1 } })
  t.ok(performance.now() - begun < 1000)
  await goOn()
  t.match(await post(stranger.url, other, 'ann', 'second'), { status: 201, body: { seq: 2 } })
})

t.test('a real failover of the owner, and a process that was started after it', async t => {
  const room = freshRoom()
  await postMany(service.url, room, 'ann', 3)
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  const { slot, owner } = await goAhead(admin, room)
  const node = cluster.nodes.find(({ port }) => port === owner.address.port)
  await node?.kill('SIGKILL')
  await until('the replica has taken over', async () => {
    const map = await admin.look()
    const now = map.ownerOf(roomSlot(room))
    return now !== owner.id && map.nodes.get(now ?? '')?.isServing === true
  })
  // On a busy machine it takes more than the usual ten seconds until the slot is finished.
  const late = await startService(t, {
    redisNodes: cluster.urls,
    env: { STORE_DEADLINE_MS: '30000' }
  })
  let answered = false
  const posting = post(late.url, room, 'ann', 'the fourth').finally(() => {
    answered = true
  })
  await new Promise(resolve => setTimeout(resolve, 1000))
  // From Valkey 8 on, replicas know of the move, so the one that took over redirects clients to the
  // log at once.
  const map = await admin.look()
  const knowsOfTheMove = map.nodes.get(map.ownerOf(slot) ?? '')?.migrating.has(slot) === true
  t.equal(answered, knowsOfTheMove)
  await node?.start()
  // The old owner is a replica now.
  await until(
    'the slot is finished',
    async () => (await finishHalfMoved(admin))?.isComplete === true
  )
  t.match(await posting, { status: 201, body: { seq: 4 } })
})
