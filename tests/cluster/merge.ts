// What remains when the owner of a half-moved slot dies: two copies of a block, each with messages
// that the other lacks.
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { blockKey } from '../../src/store/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { startCluster } from '../support/embedded.js'

// The command that moved the slot after the owner's death may itself have died after setting the
// marks.
for (const isMarked of [false, true]) {
  const when = isMarked ? 'the slot is marked once more' : 'no mark is left'
  t.test(`two nodes' copies of a block are merged: ${when}`, async t => {
    const cluster = await startCluster(t)
    const admin = await Admin.connect(redisTarget(cluster.urls))
    t.teardown(() => {
      admin.close()
    })
    const key = blockKey('room123', 'lady_gaga.0')
    const slot = slotOf(key)
    const map = await admin.look()
    const [owner, other] = [
      map.ownerOf(slot),
      map.masters.find(({ id }) => id !== map.ownerOf(slot))?.id
    ].map(id => map.nodes.get(id ?? ''))
    if (owner === undefined || other === undefined) {
      throw new Error('The cluster has no two masters')
    }
    const entries = (...ids: string[]): string[][] => ids.map(id => [id, `text of ${id}`])
    const write = async (ids: string[]): Promise<void> => {
      for (const [id = '', text = ''] of entries(...ids)) {
        await admin.ask(owner, 'XADD', key, id, 't', text)
      }
    }

    await write(['5-0', '5-1', '9-10', '20-0'])
    await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
    await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
    await admin.ask(owner, 'MIGRATE', '127.0.0.1', String(other.address.port), key, '0', '1000')
    // Makes the owner act as its replica would if the owner had died: it does not know that the
    // slot is moving.
    await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
    // The other node's clock may be behind.
    await write(['9-2', '9-9', '30-0', '31-0'])
    await admin.ask(owner, 'XDEL', key, '31-0')
    if (isMarked) {
      await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
    }

    const lines: string[] = []
    const { isComplete } = await moveSlots(admin, [{ slot, from: owner.id, to: other.id }], {
      report: line => {
        lines.push(line)
      }
    })
    t.ok(isComplete)
    t.same(
      await admin.ask(other, 'XRANGE', key, '-', '+'),
      entries('5-0', '5-1', '9-2', '9-9', '9-10', '20-0', '30-0').map(([id, text]) => [
        id,
        ['t', text]
      ])
    )
    t.match(lines.join('\n'), /kept all, 4 messages only the second had/)
  })
}
