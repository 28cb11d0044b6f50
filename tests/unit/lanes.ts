// Work in groups by key: the items of a key stay in order, one group of a key runs at a time, no
// group exceeds the maximum, and nothing is lost.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { Lanes } from '../../src/store/lanes.js'

type Run = { readonly key: string; readonly group: readonly number[]; readonly finish: () => void }

/** Lanes whose groups end when the test decides. */
function controlled(groupLengthMax: number): { lanes: Lanes<number>; runs: Run[] } {
  const runs: Run[] = []
  const lanes = new Lanes<number>(
    groupLengthMax,
    async (key, group) => {
      await new Promise<void>(resolve => {
        runs.push({ key, group, finish: resolve })
      })
    },
    throwing
  )
  return { lanes, runs }
}

const throwing = (_: unknown, error: unknown): never => {
  throw error
}

const turn = (): Promise<void> =>
  new Promise(resolve => {
    setImmediate(resolve)
  })

t.test('items of one turn form a group, and items that arrive meanwhile the next', async t => {
  const { lanes, runs } = controlled(10)
  lanes.add('a', 1)
  lanes.add('a', 2)
  t.equal(runs.length, 0, 'it does not start before the caller has finished its turn')
  await turn()
  t.strictSame(
    runs.map(({ group }) => group),
    [[1, 2]]
  )
  lanes.add('a', 3)
  lanes.add('a', 4)
  await turn()
  t.equal(runs.length, 1, 'one group of a key at a time')
  runs[0]?.finish()
  await turn()
  t.strictSame(
    runs.map(({ group }) => group),
    [
      [1, 2],
      [3, 4]
    ]
  )
})

t.test('groups of different keys do not wait for each other', async t => {
  const { lanes, runs } = controlled(10)
  lanes.add('a', 1)
  lanes.add('b', 2)
  await turn()
  lanes.add('c', 3)
  await turn()
  t.strictSame(
    runs.map(({ key }) => key),
    ['a', 'b', 'c']
  )
})

t.test('a group has at most the maximum: one less, exactly, one more', async t => {
  for (const [count, lengths] of [
    [2, [2]],
    [3, [3]],
    [4, [3, 1]],
    [7, [3, 3, 1]]
  ] as const) {
    const groups: number[][] = []
    const lanes = new Lanes<number>(
      3,
      async (_key, group) => {
        groups.push(group)
      },
      throwing
    )
    for (let item = 0; item < count; item++) lanes.add('a', item)
    await lanes.settled()
    t.strictSame(
      groups.map(({ length }) => length),
      lengths
    )
    t.strictSame(
      groups.flat(),
      [...groups.flat()].sort((a, b) => a - b)
    )
  }
})

t.test(
  'it is settled only when nothing waits or runs, and the key can be used again afterwards',
  async t => {
    const { lanes, runs } = controlled(10)
    await lanes.settled()
    lanes.add('a', 1)
    let isSettled = false
    const settled = lanes.settled().then(() => {
      isSettled = true
    })
    await turn()
    lanes.add('a', 2)
    runs[0]?.finish()
    await turn()
    t.notOk(isSettled)
    runs[1]?.finish()
    await settled
    lanes.add('a', 3)
    await turn()
    t.strictSame(
      runs.map(({ group }) => group),
      [[1], [2], [3]]
    )
  }
)

t.test("when a group's run rejects, the whole group fails, and the next group runs", async t => {
  const failed: Array<readonly [readonly number[], unknown]> = []
  const ran: number[][] = []
  const lanes = new Lanes<number>(
    2,
    async (_key, group) => {
      if (group.includes(1)) throw new Error('no')
      ran.push(group)
    },
    (group, error) => {
      failed.push([group, error])
    }
  )
  for (const item of [1, 2, 3]) lanes.add('a', item)
  await lanes.settled()
  t.strictSame(
    failed.map(([group]) => group),
    [[1, 2]]
  )
  t.match(failed[0]?.[1], { message: 'no' })
  t.strictSame(ran, [[3]])
})

t.test(
  'whatever arrives at any time, each item runs once, in the order of its key, without overlap and in groups of allowed length',
  async () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ add: fc.constantFrom('a', 'b', 'c') }),
        fc.constant('turn' as const),
        fc.record({ finish: fc.nat(3) })
      ),
      { maxLength: 60 }
    )
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), async (steps, groupLengthMax) => {
        const open: Run[] = []
        const seen = new Map<string, number[]>()
        const added = new Map<string, number[]>()
        const lanes = new Lanes<number>(
          groupLengthMax,
          async (key, group) => {
            assert.ok(!open.some(run => run.key === key), 'no second group of a key')
            assert.ok(group.length >= 1 && group.length <= groupLengthMax)
            seen.set(key, [...(seen.get(key) ?? []), ...group])
            await new Promise<void>(resolve => {
              open.push({ key, group, finish: resolve })
            })
          },
          throwing
        )
        for (const [item, step] of steps.entries()) {
          if (step === 'turn') await turn()
          else if ('add' in step) {
            added.set(step.add, [...(added.get(step.add) ?? []), item])
            lanes.add(step.add, item)
          } else open.splice(step.finish, 1)[0]?.finish()
        }
        for (;;) {
          await turn()
          const run = open.shift()
          if (run === undefined) break
          run.finish()
        }
        assert.deepEqual([...seen].sort(), [...added].sort())
      }),
      { numRuns: 300 }
    )
  }
)
