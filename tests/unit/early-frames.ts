// Frames that arrive early, against a simple model: whatever the order of arrival, what comes out
// is in order and complete.
import fc from 'fast-check'
import t from 'tap'
import { framesFrom, framesOf, lastOf } from '../../src/message/frame.js'
import { EarlyFrames } from '../../src/live/early-frames.js'
import { sequence } from '../support/client.js'

const frames = (first: number, last: number) =>
  framesOf(
    sequence(first, last).map(seq => ({
      room: 'r',
      seq,
      user: 'ann',
      text: `text ${seq}`,
      ms: 1000 + seq
    }))
  )

t.test('groups in any order, some of them repeated, come out as one sequence', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 }),
      fc.infiniteStream(fc.nat()),
      (lengths, random) => {
        let first = 1
        const groups = lengths.map(length => {
          const group = frames(first, first + length - 1)
          first += length
          return group
        })
        const arrivals = [...groups, ...groups.slice(0, 2)]
          .map(group => ({ group, rank: random.next().value ?? 0 }))
          .sort((a, b) => a.rank - b.rank)
        const held = new EarlyFrames(1000)
        let next = 1
        const delivered: number[] = []
        for (const { group } of arrivals) {
          held.add(group)
          for (const ripe of held.take(next)) {
            if (lastOf(ripe) < next) continue
            const fresh = framesFrom(ripe, next)
            delivered.push(...sequence(fresh.first, lastOf(fresh)))
            next = lastOf(fresh) + 1
          }
        }
        t.same(delivered, sequence(1, first - 1))
        t.ok(held.isEmpty)
      }
    ),
    { numRuns: 100 }
  )
})

t.test('it keeps frames up to its limit and not one more', async t => {
  const held = new EarlyFrames(5)
  t.ok(held.add(frames(10, 13)), 'four')
  t.notOk(held.add(frames(20, 21)), 'six')
  t.ok(held.add(frames(20, 20)), 'five')
  t.equal(held.first, 10)
  t.equal(held.last, 21, 'what was dropped is still to come')
  t.same(held.take(5), [])
  t.equal(held.take(10).length, 1)
  t.ok(held.add(frames(30, 33)), 'there is room again')
  held.clear()
  t.ok(held.isEmpty)
  t.equal(held.first, Infinity)
  t.equal(held.last, -Infinity)
})

t.test('the room is known to be behind until it has reached what was dropped', async t => {
  const held = new EarlyFrames(5)
  t.notOk(held.add(frames(20, 25)), 'six')
  t.notOk(held.isEmpty)
  t.equal(held.first, Infinity, 'none of it is held')
  t.equal(held.last, 25)
  t.same(held.take(25), [])
  t.notOk(held.isEmpty, '25 is still to come')
  held.take(26)
  t.ok(held.isEmpty)
})

t.test(
  'frames from before a change are known to be late, even if the change was dropped',
  async t => {
    const change = (seq: number, changes: number) =>
      framesOf([{ room: 'r', seq, user: 'ann', changes, text: undefined, ms: 1000 + seq }])
    for (const lengthMax of [0, 1, 2]) {
      const held = new EarlyFrames(lengthMax)
      held.add(change(20, 9))
      held.add(change(30, 5))
      t.ok(held.hasLaterChange(frames(5, 5)), `5 was changed; of the changes ${lengthMax} are held`)
      t.ok(held.hasLaterChange(frames(9, 9)), '9 was changed')
      t.equal(held.hasLaterChange(frames(6, 8)), lengthMax < 2, 'not known, if one was dropped')
      t.notOk(held.hasLaterChange(frames(30, 31)), 'these are not from before it')
      held.take(31)
      t.notOk(held.hasLaterChange(frames(5, 5)), 'the changes have been delivered')
    }
    const held = new EarlyFrames(1)
    held.add(frames(20, 25))
    t.notOk(held.hasLaterChange(frames(5, 5)), 'no change was dropped')
    held.add(change(30, 5))
    held.clear()
    t.notOk(held.hasLaterChange(frames(5, 5)))
  }
)
