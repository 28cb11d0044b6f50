// The owner of a half-moved slot dies while a room's log is on the other side already: the replica that takes over knows nothing of the
// move, and the log seems to be gone. Nobody may begin it anew, nor tell readers that it was rewound.
import t, { type Test } from 'tap'
import { Admin } from '../src/cli/cluster/admin.js'
import { moveSlots } from '../src/cli/cluster/mover.js'
import { redisTarget } from '../src/config.js'
import { roomSlot } from '../src/redis/keys.js'
import { freshRoom, post, postMany, request, sequence } from './support/client.js'
import { startCluster } from './support/embedded.js'
import { startService } from './support/service.js'
import { openSse } from './support/sse.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls, env: { AUDIT_MS: '300', RING_LENGTH_MAX: '2' } })

// All keys of the room's slot go to the other master, and the owner forgets it: as a replica is that has taken over.
async function hide (t: Test, room: string): Promise<{ goOn: () => Promise<void> }> {
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => { admin.close() })
  const slot = roomSlot(room)
  const map = await admin.look()
  const owner = map.nodes.get(map.ownerOf(slot) ?? '')
  const other = map.masters.find(({ id }) => id !== owner?.id)
  if (owner === undefined || other === undefined) throw new Error('The cluster has no two masters')
  await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
  // GETKEYSINSLOT answers a list of keys.
  for (const key of await admin.ask(owner, 'CLUSTER', 'GETKEYSINSLOT', String(slot), '100') as readonly string[]) {
    await admin.ask(owner, 'MIGRATE', '127.0.0.1', String(other.address.port), key, '0', '1000')
  }
  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  return { goOn: async () => { await moveSlots(admin, [{ slot, from: owner.id, to: other.id }]) } }
}

for (const [kind, headers] of [['a message', {}], ['a message with a key', { 'idempotency-key': 'k' }]] as const) {
  t.test(`${kind} waits for a log that seems to be gone, and readers are told nothing`, async t => {
    const room = freshRoom()
    await postMany(service.url, room, 'ann', 3)
    const reader = openSse(t, `${service.url}/rooms/${room}/events`)
    await reader.isLive()
    const { goOn } = await hide(t, room)
    let answered = false
    const posting = post(service.url, room, 'ann', 'the fourth', headers).finally(() => { answered = true })
    // Several audits and attempts.
    await new Promise(resolve => setTimeout(resolve, 1500))
    t.notOk(answered)
    // Below the ring, and later than any page is kept.
    const late = openSse(t, `${service.url}/rooms/${room}/events`)
    await new Promise(resolve => setTimeout(resolve, 100))
    t.match(await request(`${service.url}/health/live`, { signal: AbortSignal.timeout(3000) }), { status: 200 })
    t.notOk(reader.events.some(({ event }) => event === 'reset'))
    await goOn()
    t.match(await posting, { status: 201, body: { seq: 4 } })
    for (const each of [reader, late]) {
      await each.sees('the fourth', () => each.seqs.length === 4)
      t.same(each.seqs, sequence(1, 4))
      t.notOk(each.events.some(({ event }) => event === 'reset'))
    }
  })
}
