// Plans of slot moves, the meaning of half-moved slots, and how slots, tables and sizes are
// written: the pure parts of the cluster command.
import fc from 'fast-check'
import t from 'tap'
import { readClusterOptions } from '../../src/cli/cluster/cluster-options.js'
import { checkTargets, judge } from '../../src/cli/cluster/half-moved.js'
import { ClusterMap, type View } from '../../src/cli/cluster/map.js'
import {
  type Holding,
  type Move,
  planDrain,
  planRebalance,
  planReshard
} from '../../src/cli/cluster/plan.js'
import { rangesOf, readSlots, slotsText } from '../../src/cli/cluster/slots.js'
import { bytesText, table } from '../../src/cli/cluster/table.js'
import { Tempo } from '../../src/cli/cluster/tempo.js'
import { weigh } from '../../src/cli/cluster/weight.js'
import { UsageError } from '../../src/cli/options.js'
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { type ClusterNode } from '../../src/redis/topology.js'

/** What a cluster is made of. Kept small, so that a counterexample can be read. */
const clusters = fc.record({
  masters: fc.integer({ min: 1, max: 9 }),
  cuts: fc.array(fc.nat(SLOT_COUNT), { minLength: 1, maxLength: 60 })
})

t.test('every plan moves a slot at most once, from its owner to another master', async t => {
  fc.assert(
    fc.property(clusters, fc.nat(), fc.nat(), (cluster, pick, amount) => {
      const masters = deal(cluster)
      const owners = new Map(masters.flatMap(({ id, slots }) => slots.map(slot => [slot, id])))
      const chosen = at(masters, pick)
      const others = masters.filter(master => master !== chosen)
      const plans = [planRebalance(masters)]
      if (others.length > 0) plans.push(planDrain(chosen, others))
      const taken = others.reduce((sum, { slots }) => sum + slots.length, 0)
      plans.push(planReshard(masters, chosen, taken === 0 ? 'all' : 1 + (amount % taken)))
      for (const plan of plans) {
        const slots = new Set(plan.map(({ slot }) => slot))
        if (slots.size !== plan.length) throw new Error('a slot moves twice')
        for (const { slot, from, to } of plan) {
          if (from === to || owners.get(slot) !== from || !masters.some(({ id }) => id === to)) {
            throw new Error(`a strange move of ${slot}`)
          }
        }
      }
    }),
    { numRuns: 60 }
  )
  t.pass()
})

t.test('a rebalance ends with even counts, and no plan with fewer moves does', async t => {
  fc.assert(
    fc.property(clusters, cluster => {
      const masters = deal(cluster)
      const plan = planRebalance(masters)
      const after = counts(masters, plan)
      if (Math.max(...after) - Math.min(...after) > 1) throw new Error(`uneven: ${after.join(' ')}`)
      if (plan.length !== fewestMoves(masters)) {
        throw new Error(`${plan.length} moves, ${fewestMoves(masters)} would do`)
      }
    }),
    { numRuns: 60 }
  )
  t.pass()
})

t.test('a rebalanced cluster needs no further moves', async t => {
  fc.assert(
    fc.property(clusters, cluster => {
      const masters = deal(cluster)
      return planRebalance(apply(masters, planRebalance(masters))).length === 0
    }),
    { numRuns: 30 }
  )
  t.pass()
})

t.test('a drain leaves no slot, and makes the others as even as its slots allow', async t => {
  fc.assert(
    fc.property(clusters, fc.nat(), (cluster, pick) => {
      const masters = deal(cluster)
      fc.pre(masters.length > 1)
      const drained = at(masters, pick)
      const others = masters.filter(master => master !== drained)
      const plan = planDrain(drained, others)
      if (plan.length !== drained.slots.length) throw new Error('slots are left')
      // No master that received slots has more than one slot more than any other.
      const after = new Map(apply(masters, plan).map(({ id, slots }) => [id, slots.length]))
      const least = Math.min(...others.map(({ id }) => after.get(id) ?? 0))
      for (const id of new Set(plan.map(({ to }) => to))) {
        if ((after.get(id) ?? 0) > least + 1) throw new Error('uneven')
      }
    }),
    { numRuns: 60 }
  )
  t.pass()
})

t.test('the last shard cannot be drained', async t => {
  t.throws(() => planDrain({ id: 'a', slots: [1] }, []), { name: 'Refusal', message: /last shard/ })
  t.same(planDrain({ id: 'a', slots: [] }, []), [])
})

t.test('a reshard by count takes from the fullest masters', async t => {
  const [a, b, c] = [holding('a', 0, 99), holding('b', 100, 149), holding('c', 150, 159)]
  const plan = planReshard([a, b], c, 60)
  t.same(counts([a, b, c], plan), [45, 45, 70])
  t.same(counts([a, b, c], planReshard([a, b, c], c, 'all')), [0, 0, 160])
  t.throws(() => planReshard([a], c, 101), {
    name: 'Refusal',
    message: '101 slots were requested, but there are only 100 to take.'
  })
})

t.test(
  'a reshard by ranges takes exactly these, leaves those that have arrived already, and refuses others',
  async t => {
    const [a, b] = [holding('a', 0, 9), holding('b', 10, 19)]
    t.same(planReshard([a], b, [3, 4, 12]), [
      { slot: 3, from: 'a', to: 'b' },
      { slot: 4, from: 'a', to: 'b' }
    ])
    t.throws(() => planReshard([a], b, [3, 20, 21]), {
      name: 'Refusal',
      message: /^Slots 20-21 are not on/
    })
  }
)

t.test('slots are parsed in the form in which they are printed', async t => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(SLOT_COUNT - 1), { minLength: 1, maxLength: 200 }), some => {
      const slots = some.sort((a, b) => a - b)
      const text = slotsText(slots)
      const read = readSlots(text.includes('-') || text.includes(',') ? text : `${text}-${text}`)
      return JSON.stringify(read) === JSON.stringify(slots)
    })
  )
  t.same(rangesOf([0, 1, 2, 7, 9, 10]), [
    [0, 2],
    [7, 7],
    [9, 10]
  ])
  t.equal(slotsText([]), 'none')
  t.equal(slotsText([1, 3, 5, 7], 2), '1,3 and 2 more ranges')
  t.equal(readSlots('1000'), 1000)
  t.equal(readSlots('all'), 'all')
  t.same(readSlots('16383-16383, 0'), [0, 16383])
  for (const wrong of ['0', '16385', '5-3', '0-16384', 'x', '1-', '', '-3', '1,,2']) {
    t.throws(() => readSlots(wrong), UsageError, wrong)
  }
})

t.test('commands accept their own options and words, and nothing else', async t => {
  const order = (...args: string[]) => readClusterOptions(args).order
  t.same(order('drain', '7001', '--to', '7002,7003'), {
    name: 'drain',
    node: '7001',
    to: ['7002', '7003']
  })
  t.same(order('--yes', 'reshard', '--from', 'all', '--to', 'ab', '--slots', '10-11'), {
    name: 'reshard',
    from: 'all',
    to: 'ab',
    slots: [10, 11]
  })
  t.same(order('add', '10.0.0.1:6379', '[::1]:6380'), {
    name: 'add',
    addresses: [
      { host: '10.0.0.1', port: 6379 },
      { host: '::1', port: 6380 }
    ],
    replicaOf: undefined,
    replicas: 1
  })
  t.same(readClusterOptions(['rebalance', '--speed', '100', '--yes']), {
    order: { name: 'rebalance' },
    speed: 100,
    isByKeys: false,
    isYes: true
  })
  t.equal(order('--help'), 'help')
  for (const wrong of [
    [],
    ['drian', 'x'],
    ['drain'],
    ['drain', 'x', 'y'],
    ['status', '--slots', '1'],
    ['reshard', '--from', 'a', '--to', 'b'],
    ['rebalance', '--speed', '0'],
    ['rebalance', '--speed', '101'],
    ['add', 'host'],
    ['add', 'host:0'],
    ['add', 'h:1', '--replicas', '2'],
    ['status', '--room', '{'],
    ['failover'],
    ['remove'],
    ['finish', 'now'],
    ['status', '--loud']
  ]) {
    t.throws(() => order(...wrong), UsageError, wrong.join(' '))
  }
})

t.test(
  'a node is named by its id, at least six characters of it, host:port or port, if exactly one node matches',
  async t => {
    const map = mapOf([
      { id: 'aaaaaa11', port: 7001, slots: [0, 99] },
      { id: 'aaaaaa22', port: 7002, slots: [100, 199] },
      { id: 'bbbbbb33', port: 7003, masterId: 'aaaaaa11' }
    ])
    for (const name of ['aaaaaa11', 'aaaaaa1', '127.0.0.1:7001', '7001', 'AAAAAA11']) {
      t.equal(map.named(name).id, 'aaaaaa11', name)
    }
    t.throws(() => map.named('aaaaaa'), {
      message: /may be 127\.0\.0\.1:7001 \(aaaaaa11\) or 127\.0\.0\.1:7002 \(aaaaaa22\)/
    })
    t.throws(() => map.named('cccccc'), {
      message: /^No node is called 'cccccc'\. There are: 127\.0\.0\.1:7001 \(aaaaaa11\), /
    })
    for (const short of ['', '1', 'aaaaa', 'bbbbb']) {
      t.throws(() => map.named(short), { message: /^No node/ }, short)
    }
    t.throws(() => map.masterNamed('bbbbbb33'), {
      message: /is a replica of 127\.0\.0\.1:7001 \(aaaaaa11\)/
    })
  }
)

t.test(
  'the faults of a cluster are reported: slots without an owner, missing masters, disagreement',
  async t => {
    const whole = mapOf([
      { id: 'a', port: 1, slots: [0, 9999] },
      { id: 'b', port: 2, slots: [10000, SLOT_COUNT - 1] }
    ])
    t.same(whole.faults, [])
    t.same(
      whole.warnings.map(line => line.slice(-22)),
      ['has no living replica.', 'has no living replica.']
    )
    const [fault] = mapOf([{ id: 'a', port: 1, slots: [0, 9] }]).faults
    t.equal(fault, 'Slots 10-16383 have no owner.')
    const silent = mapOf([
      { id: 'a', port: 1, slots: [0, 9999] },
      { id: 'b', port: 2, slots: [10000, SLOT_COUNT - 1], isSilent: true }
    ])
    t.match(silent.faults, [
      'Master 127.0.0.1:2 (b), which owns slots 10000-16383, does not answer.'
    ])
    const a = { id: 'a', slots: [[0, SLOT_COUNT - 1]] as const, epoch: 1 }
    const split = ClusterMap.fromViews(
      [
        view('a', [node({ ...a, port: 1 }), node({ id: 'b', port: 2 })]),
        view('b', [
          node({ ...a, port: 1, slots: [[0, 99]] }),
          node({ id: 'b', port: 2, epoch: 2, slots: [[100, SLOT_COUNT - 1]] })
        ])
      ],
      address => address
    )
    t.match(split.faults, ['The nodes do not agree who owns slots 100-16383.'])
    t.equal(split.ownerOf(100), 'b', 'the higher epoch wins')
  }
)

t.test('every kind of half-moved slot is found, with the way to finish it', async t => {
  const judged = (
    marks: { a?: Partial<Node>; b?: Partial<Node>; c?: Partial<Node> },
    keys: Record<string, Record<number, number>> = {}
  ) => {
    const map = mapOf([
      { id: 'a', port: 1, slots: [0, 9999], ...marks.a },
      { id: 'b', port: 2, slots: [10000, SLOT_COUNT - 1], ...marks.b },
      { id: 'c', port: 3, ...marks.c }
    ])
    const keyCounts = new Map(
      ['a', 'b', 'c'].map(id => [
        id,
        Array.from({ length: SLOT_COUNT }, (_, slot) => keys[id]?.[slot] ?? 0)
      ])
    )
    return judge(map, map.masters, keyCounts)
  }
  const forwards = [{ slot: 7, from: 'a', to: 'b' }]
  const nothing = { moves: [], staleMarks: [] }
  t.same(judged({}, { a: { 7: 3 } }), nothing, 'an owner with keys')
  t.same(
    judged({ a: { migrating: [[7, 'b']] }, b: { importing: [[7, 'a']] } }),
    { moves: forwards, staleMarks: [] },
    'both marks'
  )
  t.same(
    judged({ a: { migrating: [[7, 'b']] } }),
    { moves: forwards, staleMarks: [] },
    "the owner's mark only"
  )
  t.same(
    judged({ b: { importing: [[7, 'a']] } }),
    { moves: forwards, staleMarks: [] },
    "the target's mark only"
  )
  t.same(
    judged({}, { a: { 7: 1 }, b: { 7: 2 } }),
    { moves: forwards, staleMarks: [] },
    'keys on both sides, no mark'
  )
  t.same(
    judged({ a: { migrating: [[7, 'b']] }, c: { importing: [[7, 'a']] } }),
    { moves: forwards, staleMarks: [{ slot: 7, at: 'c' }] },
    "the owner's mark outweighs another"
  )
  t.same(
    judged({ c: { migrating: [[7, 'a']] } }),
    { moves: [], staleMarks: [{ slot: 7, at: 'c' }] },
    'a mark of a former owner'
  )
  t.same(
    judged({ c: { migrating: [[7, 'a']] } }, { c: { 7: 1 } }),
    { moves: [{ slot: 7, from: 'a', to: 'c' }], staleMarks: [] },
    '… but has keys'
  )
  t.same(
    judged({ a: { migrating: [[7, 'gone']] } }),
    { moves: [], staleMarks: [{ slot: 7, at: 'a' }] },
    'a mark to a node that has left'
  )
  t.same(
    judged({}, { b: { 7: 1 }, c: { 7: 2 } }),
    { moves: [{ slot: 7, from: 'a', to: 'c' }], staleMarks: [] },
    'keys in three places: the fullest first'
  )
})

t.test('a slot that is half-moved to a node that is down is not given up', async t => {
  const map = mapOf([
    { id: 'a', port: 1, slots: [0, SLOT_COUNT - 1], migrating: [[7, 'b']] },
    { id: 'b', port: 2, isSilent: true }
  ])
  t.throws(
    () => {
      checkTargets(map, { moves: [] })
    },
    {
      name: 'Refusal',
      message: /^Slots 7 are half-moved to 127\.0\.0\.1:2 \(b\), which does not answer/
    }
  )
  checkTargets(map, { moves: [{ slot: 7, from: 'a', to: 'c' }] })
})

t.test('batches take as long as nodes may be blocked, and contain at least one key', async t => {
  const tempo = new Tempo(25)
  t.equal(tempo.batchLength([10_000_000, 5]), 1)
  t.ok(tempo.batchLength(new Array<number>(100).fill(100)) >= 50, 'small keys go together')
  const before = tempo.batchLength(new Array<number>(100).fill(5_000))
  for (let index = 0; index < 20; index++) tempo.took(20, 1, 5_000)
  t.ok(
    tempo.batchLength(new Array<number>(100).fill(5_000)) < before,
    'slow batches make shorter ones'
  )
  for (let index = 0; index < 20; index++) tempo.took(500, 1, 100)
  const length = tempo.batchLength(new Array<number>(100).fill(100))
  t.ok(length >= 16 && length < 20, `tiny keys still go together: ${length}`)
  t.equal(tempo.batchMsMax, 500)
})

t.test("the bytes of a plan are estimated from the share of the master's keys", async t => {
  const keys = new Map([
    ['a', [3, 1, 0]],
    ['b', [0, 0, 0]]
  ])
  const weights = weigh(
    [
      { slot: 0, from: 'a', to: 'b' },
      { slot: 2, from: 'a', to: 'b' },
      { slot: 1, from: 'a', to: 'c' }
    ],
    keys,
    new Map([['a', 4000]])
  )
  t.same(weights, [
    { from: 'a', to: 'b', slots: [0, 2], keys: 3, bytes: 3000 },
    { from: 'a', to: 'c', slots: [1], keys: 1, bytes: 1000 }
  ])
})

t.test('tables and sizes are readable', async t => {
  t.equal(
    table(
      ['name', '>count'],
      [
        ['a', '1'],
        ['long name', '1,000']
      ]
    ),
    'name       count\na              1\nlong name  1,000'
  )
  t.same([0, 1023, 1024, 1536 * 1024, 5 * 1024 ** 4].map(bytesText), [
    '0 bytes',
    '1023 bytes',
    '1.0 KiB',
    '1.5 MiB',
    '5.0 TiB'
  ])
})

type Node = {
  id: string
  port: number
  slots?: readonly [number, number]
  masterId?: string
  isSilent?: boolean
  migrating?: Array<[number, string]>
  importing?: Array<[number, string]>
}

// A map on which all nodes agree.
function mapOf(nodes: readonly Node[]): ClusterMap {
  const all = nodes.map(({ slots, migrating = [], importing = [], isSilent, ...rest }) =>
    node({
      ...rest,
      ...(rest.masterId === undefined ? {} : { role: 'replica' as const }),
      slots: slots === undefined ? [] : [slots],
      migrating: migrating.map(([slot, to]) => ({ slot, to })),
      importing: importing.map(([slot, from]) => ({ slot, from }))
    })
  )
  return ClusterMap.fromViews(
    nodes.filter(({ isSilent }) => isSilent !== true).map(({ id }) => view(id, all)),
    address => address
  )
}

function view(selfId: string, nodes: ClusterNode[]): View {
  return { selfId, isServing: true, nodes }
}

function node({ port, ...rest }: Partial<ClusterNode> & { id: string; port: number }): ClusterNode {
  return {
    address: { host: '127.0.0.1', port },
    role: 'master',
    masterId: undefined,
    isFailed: false,
    isSuspected: false,
    isLinked: true,
    heardMs: 0,
    epoch: 1,
    slots: [],
    migrating: [],
    importing: [],
    ...rest
  }
}

// Masters `m0`, `m1` … with all slots dealt out in pieces; some masters have none.
function deal({ masters, cuts }: { masters: number; cuts: readonly number[] }): Holding[] {
  const holdings = Array.from({ length: masters }, (_, index) => ({
    id: `m${index}`,
    slots: [] as number[]
  }))
  const bounds = [0, ...cuts, SLOT_COUNT].sort((a, b) => a - b)
  for (const [index, first] of bounds.slice(0, -1).entries()) {
    const holder = holdings[(cuts[index % cuts.length] ?? 0) % masters]
    for (let slot = first; slot < (bounds[index + 1] ?? first); slot++) holder?.slots.push(slot)
  }
  return holdings
}

function holding(id: string, first: number, last: number): Holding {
  return { id, slots: Array.from({ length: last - first + 1 }, (_, index) => first + index) }
}

function at<T>(list: readonly T[], index: number): T {
  const one = list[index % list.length]
  if (one === undefined) throw new Error('The list is empty')
  return one
}

function apply(masters: readonly Holding[], moves: readonly Move[]): Holding[] {
  const gone = new Set(moves.map(({ slot }) => slot))
  return masters.map(({ id, slots }) => ({
    id,
    slots: [
      ...slots.filter(slot => !gone.has(slot)),
      ...moves.filter(({ to }) => to === id).map(({ slot }) => slot)
    ].sort((a, b) => a - b)
  }))
}

function counts(masters: readonly Holding[], moves: readonly Move[]): number[] {
  return apply(masters, moves).map(({ slots }) => slots.length)
}

// In the end every master has the even share, or one slot more. Each slot above that must move.
function fewestMoves(masters: readonly Holding[]): number {
  const total = masters.reduce((sum, { slots }) => sum + slots.length, 0)
  const share = Math.floor(total / masters.length)
  const above = masters
    .map(({ slots }) => slots.length - share)
    .filter(count => count > 0)
    .sort((a, b) => b - a)
  const mayKeep = total % masters.length
  return above.reduce((sum, count, index) => sum + count - (index < mayKeep ? 1 : 0), 0)
}
