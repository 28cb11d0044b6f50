// Which node owns which slot: how the replies to CLUSTER NODES are read and merged.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { addressKey } from '../../src/redis/address.js'
import {
  type ClusterNode,
  parseAddress,
  parseClusterNodes,
  Topology
} from '../../src/redis/topology.js'

const reply = [
  '07c37df 127.0.0.1:30004@31004,host-4 slave e7d1eec 0 1426238317239 4 connected',
  '67ed2db 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-10922',
  '292f8b3 127.0.0.1:30003@31003 master,fail? - 0 1426238318243 3 disconnected 10923-16382 16383',
  '6ec2392 127.0.0.1:30005@31005 slave,fail 67ed2db 0 1426238316232 5 disconnected',
  '824fe11 :0@0 slave,fail,noaddr 67ed2db 0 1426238316232 5 disconnected',
  '9a1b2c3 127.0.0.1:30009@31009 handshake - 0 0 0 connected',
  'e7d1eec :30001@31001 myself,master - 0 0 1 connected 0-5460 [93->-292f8b3] [77-<-67ed2db]',
  ''
].join('\n')

t.test('CLUSTER NODES is read: addresses, roles, states, slots, and half-moved slots', async t => {
  const nodes = parseClusterNodes(reply, '10.0.0.9')
  t.strictSame(
    nodes.map(({ id }) => id),
    ['07c37df', '67ed2db', '292f8b3', '6ec2392', 'e7d1eec'],
    'without nodes that have no address or have not been met yet'
  )
  const [replica, master, suspected, failed, myself] = nodes
  t.match(replica, {
    address: { host: '127.0.0.1', port: 30004 },
    role: 'replica',
    masterId: 'e7d1eec',
    isFailed: false,
    isSuspected: false,
    isLinked: true,
    heardMs: 1426238317239,
    epoch: 4,
    slots: { length: 0 }
  })
  t.match(master, {
    role: 'master',
    masterId: undefined,
    epoch: 2,
    slots: { length: 1, 0: [5461, 10922] }
  })
  t.match(
    suspected,
    {
      isFailed: false,
      isSuspected: true,
      isLinked: false,
      slots: { length: 2, 0: [10923, 16382], 1: [16383, 16383] }
    },
    'suspected is not failed'
  )
  t.match(failed, { role: 'replica', isFailed: true, isLinked: false })
  t.match(myself, {
    address: { host: '10.0.0.9', port: 30001 },
    isLinked: true,
    slots: { length: 1, 0: [0, 5460] }
  })
  t.strictSame(myself?.migrating, [{ slot: 93, to: '292f8b3' }])
  t.strictSame(myself?.importing, [{ slot: 77, from: '67ed2db' }])
})

t.test('addresses are read in every form that nodes write, and nothing else is', async t => {
  t.strictSame(parseAddress('10.0.0.1:6379', 'x'), { host: '10.0.0.1', port: 6379 })
  t.strictSame(parseAddress('redis-1.example:1', 'x'), { host: 'redis-1.example', port: 1 })
  t.strictSame(parseAddress('fe80::1:65535', 'x'), { host: 'fe80::1', port: 65535 })
  t.strictSame(parseAddress('[fe80::1]:6379', 'x'), { host: 'fe80::1', port: 6379 })
  t.strictSame(parseAddress(':6379', 'x'), { host: 'x', port: 6379 })
  for (const text of ['', '?:6379', ':', 'x', 'x:', 'x:0', 'x:65536', 'x:1.5', 'x:-1', 'x:y']) {
    t.equal(parseAddress(text, 'x'), undefined, JSON.stringify(text))
  }
})

type Claim = {
  readonly port: number
  readonly epoch: number
  readonly first: number
  readonly last: number
}

function node({
  port,
  epoch,
  slots,
  ...rest
}: Partial<ClusterNode> & { port: number; epoch: number }): ClusterNode {
  return {
    id: `id-${port}`,
    address: { host: 'h', port },
    role: 'master',
    masterId: undefined,
    isFailed: false,
    isSuspected: false,
    isLinked: true,
    heardMs: 0,
    epoch,
    slots: slots ?? [],
    migrating: [],
    importing: [],
    ...rest
  }
}

const masterWith = ({ port, epoch, first, last }: Claim): ClusterNode =>
  node({ port, epoch, slots: [[Math.min(first, last), Math.max(first, last)]] })

const claims: fc.Arbitrary<Claim> = fc.record({
  port: fc.integer({ min: 1, max: 8 }),
  epoch: fc.nat(20),
  first: fc.nat(SLOT_COUNT - 1),
  last: fc.nat(SLOT_COUNT - 1)
})
const viewLists = fc.array(fc.uniqueArray(claims, { selector: ({ port }) => port, maxLength: 5 }), {
  maxLength: 4
})
const someSlots = fc.array(fc.nat(SLOT_COUNT - 1), { minLength: 1, maxLength: 20 })

t.test('if views disagree about a slot, the owner with the highest epoch is believed', async () => {
  fc.assert(
    fc.property(viewLists, someSlots, (views, slots) => {
      const topology = Topology.fromViews(views.map(view => view.map(masterWith)))
      const all = views.flat()
      for (const slot of [
        0,
        SLOT_COUNT - 1,
        ...slots,
        ...all.flatMap(({ first, last }) => [first, last])
      ]) {
        const claiming = all.filter(
          ({ first, last }) => slot >= Math.min(first, last) && slot <= Math.max(first, last)
        )
        const highest = Math.max(...claiming.map(({ epoch }) => epoch))
        const owners = claiming
          .filter(({ epoch }) => epoch === highest)
          .map(({ port }) => `h:${port}`)
        const owner = topology.ownerOf(slot)
        if (owner === undefined) assert.equal(owners.length, 0)
        else assert.ok(owners.includes(owner))
      }
    }),
    { numRuns: 200 }
  )
})

t.test('the order of the views does not matter', async () => {
  fc.assert(
    fc.property(
      viewLists,
      viewLists.map(views => views.flat()),
      (views, others) => {
        // Two masters do not keep the same epoch for long: the cluster resolves that itself.
        const unequal = [...views, others].map(view =>
          view.map(claim => masterWith({ ...claim, epoch: claim.epoch * 10 + claim.port }))
        )
        const [forth, back] = [
          Topology.fromViews(unequal),
          Topology.fromViews([...unequal].reverse())
        ]
        assert.deepEqual(forth.masters.toSorted(), back.masters.toSorted())
        for (let slot = 0; slot < SLOT_COUNT; slot += 97) {
          assert.equal(forth.ownerOf(slot), back.ownerOf(slot))
        }
      }
    ),
    { numRuns: 100 }
  )
})

t.test('a node is described by the newest view, and reports of its death are believed', async t => {
  const { nodes } = Topology.fromViews([
    [node({ port: 1, epoch: 1 }), node({ port: 2, epoch: 5, role: 'replica', masterId: 'id-1' })],
    [node({ port: 1, epoch: 1, isFailed: true }), node({ port: 2, epoch: 6 })]
  ])
  t.match(nodes.get('h:1'), { isFailed: true })
  t.match(nodes.get('h:2'), { role: 'master', epoch: 6 })
  const again = Topology.fromViews([
    [node({ port: 1, epoch: 1, isFailed: true })],
    [node({ port: 1, epoch: 1 })]
  ])
  t.match(again.nodes.get('h:1'), { isFailed: true }, 'in whichever order')
})

t.test('a promoted replica takes over what its failed master still claims', async t => {
  const topology = Topology.fromViews([
    [
      node({ port: 1, epoch: 1, slots: [[0, 100]] }),
      node({ port: 4, epoch: 1, role: 'replica', masterId: 'id-1' })
    ],
    [node({ port: 1, epoch: 1, isFailed: true }), node({ port: 4, epoch: 9, slots: [[0, 100]] })]
  ])
  t.equal(topology.ownerOf(0), 'h:4')
  t.strictSame(topology.masters, ['h:4'])
})

t.test('a MOVED changes one slot only', async t => {
  const topology = Topology.fromViews([
    [node({ port: 1, epoch: 1, slots: [[0, 9]] }), node({ port: 2, epoch: 2, slots: [[10, 19]] })]
  ])
  topology.move(5, 'h:2')
  t.strictSame(
    [4, 5, 6, 10, 20].map(slot => topology.ownerOf(slot)),
    ['h:1', 'h:2', 'h:1', 'h:2', undefined]
  )
  t.strictSame(topology.masters, ['h:1', 'h:2'])
  t.strictSame(Topology.empty().masters, [])
})

t.test('slots are served unless the cluster considers their owner dead', async t => {
  t.equal(Topology.empty().unservedSlots, SLOT_COUNT)
  const topology = Topology.fromViews([
    [
      node({ port: 1, epoch: 1, slots: [[0, 9]] }),
      node({ port: 2, epoch: 2, slots: [[10, SLOT_COUNT - 1]], isSuspected: true })
    ]
  ])
  t.equal(topology.unservedSlots, 0, 'a suspicion is not a failure')
  const failed = Topology.fromViews([
    [
      node({ port: 1, epoch: 1, slots: [[0, 9]], isFailed: true }),
      node({ port: 2, epoch: 2, slots: [[10, SLOT_COUNT - 2]] })
    ]
  ])
  t.equal(failed.unservedSlots, 11, 'ten slots of a failed owner, and one without an owner')
})

t.test(
  'a look that finds the same owners takes over the map, and a MOVED stays its own',
  async t => {
    const views = [[node({ port: 1, epoch: 1, slots: [[0, SLOT_COUNT - 1]] })]]
    const first = Topology.fromViews(views)
    const { version, masters } = first
    const second = Topology.fromViews(views, first)
    t.equal(second.masters, masters, 'the same list')
    t.equal(second.version, version)
    first.move(5, 'h:2')
    t.equal(first.ownerOf(5), 'h:2')
    t.equal(second.ownerOf(5), 'h:1')
    second.move(6, 'h:3')
    t.strictSame(second.masters, ['h:1', 'h:3'])
    const third = Topology.fromViews(views, second)
    t.strictSame(third.masters, ['h:1'], 'a MOVED that the views contradict is forgotten')
    const fourth = Topology.fromViews([[node({ port: 2, epoch: 2, slots: [[0, 9]] })]], third)
    t.strictSame(fourth.masters, ['h:2'])
    t.equal(fourth.ownerOf(10), undefined)
  }
)

t.test('living replicas are those of this master that are neither failed nor cut off', async t => {
  const replica = { role: 'replica', masterId: 'id-1', epoch: 1 } as const
  const topology = Topology.fromViews([
    [
      node({ port: 1, epoch: 1, slots: [[0, 9]] }),
      node({ port: 2, ...replica }),
      node({ port: 3, ...replica, isFailed: true }),
      node({ port: 4, ...replica, isLinked: false }),
      node({ port: 5, ...replica, masterId: 'id-9' }),
      node({ port: 6, epoch: 2 })
    ]
  ])
  t.strictSame(
    topology.livingReplicasOf('h:1').map(({ address }) => addressKey(address)),
    ['h:2']
  )
  t.strictSame(topology.livingReplicasOf('h:6'), [])
})
