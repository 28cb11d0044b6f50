// The cache by names is bounded: up to the limit it keeps every name, and one more name empties it.
import t from 'tap'
import { Remembered } from '../../src/remembered.js'

const NAMES_MAX = 10_000

t.test('names are remembered up to the limit; one more empties the cache', async t => {
  const remembered = new Remembered<number>()
  for (let index = 1; index < NAMES_MAX; index++) remembered.set(`room${index}`, index)
  t.equal(remembered.size, NAMES_MAX - 1)
  remembered.set('at the limit', 0)
  t.equal(remembered.size, NAMES_MAX)
  t.equal(remembered.get('room1'), 1)
  remembered.set('one more', 7)
  t.strictSame([...remembered], [['one more', 7]])
})
