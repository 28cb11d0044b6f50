// Short pieces of work that share turns of the event loop.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { LoopSlices } from '../../src/loop-slices.js'
import { until } from '../support/until.js'

const busy = (ms: number): void => {
  const end = performance.now() + ms
  while (performance.now() < end);
}

t.test('they run in order, and in a later turn', async t => {
  const slices = new LoopSlices()
  const done: number[] = []
  for (const n of [1, 2, 3]) slices.add(() => done.push(n))
  t.strictSame(done, [])
  await turn()
  t.strictSame(done, [1, 2, 3])
})

t.test('whoever needs the loop waits for a slice, not for all of them', async t => {
  const slices = new LoopSlices()
  let done = 0
  for (let n = 0; n < 40; n++) {
    slices.add(() => {
      busy(2)
      done++
    })
  }
  const seen = [0]
  while (seen.at(-1) !== 40) {
    await turn()
    seen.push(done)
  }
  const most = Math.max(...seen.slice(1).map((count, index) => count - (seen[index] ?? 0)))
  // Three of 2 ms fill 5 ms; a turn of this test may come after two slices.
  t.ok(most <= 6, `${most} in one turn: ${seen.join(' ')}`)
})

t.test('a piece that adds itself again waits for the others', async t => {
  const slices = new LoopSlices()
  const done: string[] = []
  const repeat = (name: string, times: number): void => {
    slices.add(() => {
      done.push(name)
      if (times > 1) repeat(name, times - 1)
    })
  }
  repeat('a', 3)
  repeat('b', 3)
  await until('all are done', () => done.length === 6)
  t.equal(done.join(''), 'ababab')
})
