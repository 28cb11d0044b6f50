// What remains when the owner of a half-moved slot dies: two copies of a block, each with messages
// that the other lacks.
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { blockKey, changedKey } from '../../src/store/keys.js'
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
    t.match(lines.join('\n'), /kept all messages, 4 of which only the second had/)
  })
}

t.test(
  'two copies of a block with changes: no deleted text is back, the later change counts',
  async t => {
    const cluster = await startCluster(t)
    const admin = await Admin.connect(redisTarget(cluster.urls))
    t.teardown(() => {
      admin.close()
    })
    const key = blockKey('room123', 'lady_gaga.0')
    const beside = changedKey(key)
    const slot = slotOf(key)
    const map = await admin.look()
    const owner = map.nodes.get(map.ownerOf(slot) ?? '')
    const other = map.masters.find(({ id }) => id !== owner?.id)
    if (owner === undefined || other === undefined) {
      throw new Error('The cluster has no two masters')
    }
    await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
    const onOther = async (...words: string[]): Promise<unknown> =>
      (await admin.askAll(other, [['ASKING'], words]))[1]
    const [soon, late] = [Date.now() + 3_600_000, Date.now() + 7_200_000]

    // The copy that had moved: one was changed, and one was deleted there.
    for (const id of ['5-0', '5-1', '20-0', '21-0']) {
      await onOther('XADD', key, id, 't', `text ${id}`)
    }
    await onOther('HSET', beside, '9-10', '1 50 a tfirst', '22-0', '2 60 b d')
    await onOther('PEXPIREAT', key, String(late))
    await onOther('PEXPIREAT', beside, String(soon))
    // The copy of the new owner: of messages that it got back, the other side knows better; it
    // knows better of 5-1 and 21-0.
    for (const id of ['9-10', '22-0', '30-0']) {
      await admin.ask(owner, 'XADD', key, id, 't', `text ${id}`)
    }
    await admin.ask(
      owner,
      ...['HSET', beside, '5-1', '1 70 c d', '9-10', '2 80 d tsecond', '21-0', '1 90 e tnew'],
      ...['22-0', '1 55 f told']
    )
    await admin.ask(owner, 'PEXPIREAT', key, String(soon))
    await admin.ask(owner, 'PEXPIREAT', beside, String(late))

    const { isComplete } = await moveSlots(admin, [{ slot, from: owner.id, to: other.id }])
    t.ok(isComplete)
    t.same(
      await admin.ask(other, 'XRANGE', key, '-', '+'),
      ['5-0', '20-0', '30-0'].map(id => [id, ['t', `text ${id}`]])
    )
    // HGETALL answers fields and values in turn.
    const flat = (await admin.ask(other, 'HGETALL', beside)) as readonly string[]
    const changes = new Map(flat.map((id, index) => [id, flat[index + 1]]))
    t.same(
      ['5-1', '9-10', '21-0', '22-0'].map(id => changes.get(id)),
      ['1 70 c d', '2 80 d tsecond', '1 90 e tnew', '2 60 b d']
    )
    t.equal(flat.length, 8)
    t.equal(await admin.ask(other, 'PEXPIRETIME', key), late)
    t.equal(await admin.ask(other, 'PEXPIRETIME', beside), late)
    // Redis knows again that something was deleted, so that a text is put back only after a look
    // beside the block.
    const info = JSON.stringify(await admin.ask(other, 'XINFO', 'STREAM', key))
    t.match(info, '"max-deleted-entry-id","22-0"')
  }
)
