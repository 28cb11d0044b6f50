// Whether a node that imports a slot has a key, with stand-ins for the nodes.
import t from 'tap'
import { type Reply } from '../../src/redis/connection.js'
import { Importers } from '../../src/redis/importers.js'
import { type Nodes } from '../../src/redis/nodes.js'
import { slotOf } from '../../src/redis/slots.js'

const KEY = 'room:lobby'

/** What each node answers when it is asked for a key: its number of keys, or an error. */
type Answer = 0 | 1 | Error

/** A master that does not own the slot: how many keys of it it has, and what it says of itself. */
type Beside = { readonly keys: Reply | Error; readonly self?: object }

/**
 * @param looks the answer of the only importing node at each look; undefined if there is none
 * @param beside what another master says
 */
function importersOf(
  looks: ReadonlyArray<Answer | undefined>,
  beside?: Beside
): {
  readonly importers: Importers
  readonly looked: () => number
} {
  let count = 0
  let answer: Answer | undefined
  const node = {
    commands: {
      send: (
        _args: unknown,
        _isAsking: boolean,
        _isWrite: boolean,
        resolve: (answered: { reply: number }) => void,
        reject: (error: Error) => void
      ) => {
        if (answer instanceof Error) reject(answer)
        else resolve({ reply: answer ?? 0 })
      }
    }
  }
  const importing = [{ slot: slotOf(KEY), node: 'source' }]
  const nodes = {
    views: {
      collect: async () => {
        answer = looks[Math.min(count++, looks.length - 1)]
      },
      get importers() {
        return answer === undefined
          ? []
          : [{ role: 'master', importing, address: { host: 'node', port: 1 } }]
      },
      mastersBeside: () => (beside === undefined ? ['node:1'] : ['node:1', 'beside:1']),
      askInTime: async (key: string) => {
        if (key === 'node:1') return 0
        if (beside?.keys instanceof Error) throw beside.keys
        return beside?.keys
      },
      selfOf: async () => beside?.self
    },
    add: () => node
  }
  // Only these are asked.
  return { importers: new Importers(nodes as unknown as Nodes), looked: () => count }
}

const moved = new Error(`MOVED ${slotOf(KEY)} node:1`)

t.test('a node that imports the slot is asked for the key', async t => {
  t.equal(await importersOf([undefined]).importers.mayHave(KEY), false)
  t.equal(await importersOf([0]).importers.mayHave(KEY), false)
  t.equal(await importersOf([1]).importers.mayHave(KEY), true)
})

t.test('a move that has ended since the last look is seen at once', async t => {
  const { importers, looked } = importersOf([moved, undefined])
  t.equal(await importers.mayHave(KEY), false)
  t.equal(looked(), 2)
})

t.test('a node that still does not answer after a new look may have the key', async t => {
  const { importers, looked } = importersOf([moved])
  t.equal(await importers.mayHave(KEY), true)
  t.equal(looked(), 2)
  t.equal(await importers.mayHave(KEY), true, 'and the next question looks again')
  t.equal(looked(), 4)
})

t.test('many keys that are asked for together share their looks', async t => {
  const { importers, looked } = importersOf([moved, undefined])
  const found = await Promise.all(Array.from({ length: 20 }, () => importers.mayHave(KEY)))
  t.notOk(found.includes(true))
  t.equal(looked(), 2)
})

t.test('a master with keys of the slot and no mark may have the key', async t => {
  const self = { role: 'master', slots: [[0, 0]], importing: [] }
  t.equal(await importersOf([undefined], { keys: 1, self }).importers.mayHave(KEY), true)
  t.equal(await importersOf([undefined], { keys: 0, self }).importers.mayHave(KEY), false)
})

t.test('a master with keys is passed over if it owns the slot or is none any more', async t => {
  const slot = slotOf(KEY)
  for (const self of [
    { role: 'master', slots: [[slot, slot]], importing: [] },
    { role: 'replica', slots: [], importing: [] }
  ]) {
    t.equal(await importersOf([undefined], { keys: 1, self }).importers.mayHave(KEY), false)
  }
})

t.test('a master that does not say how many keys it has is passed over', async t => {
  const keys = new Error('NOPERM this user has no permissions')
  t.equal(await importersOf([undefined], { keys }).importers.mayHave(KEY), false)
})

t.test('a mark that is newer than the last look leads to another look', async t => {
  const self = { role: 'master', slots: [], importing: [{ slot: slotOf(KEY), node: 'source' }] }
  const { importers, looked } = importersOf([undefined], { keys: 1, self })
  await importers.mayHave(KEY)
  t.equal(looked(), 2)
})
