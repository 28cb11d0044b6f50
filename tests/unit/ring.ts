// The newest frames of a room, against a model that keeps a list: the same sequences, the same
// bytes, and never over a limit.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Frames, framesFrom, framesOf, lastOf } from '../../src/message/frame.js'
import { Ring, RingBudget } from '../../src/live/ring.js'

function framesAt(first: number, length: number, textLength = 5): Frames {
  return framesOf(
    Array.from({ length }, (_, index) => ({
      room: 'r',
      seq: first + index,
      user: 'u',
      text: 'x'.repeat(textLength),
      ms: 1000 + first + index
    }))
  )
}

const bytesOf = (groups: readonly Frames[]): number =>
  groups.reduce((sum, { bytes }) => sum + bytes.length, 0)

const roomy = { ringLengthMax: 100, ringBytesMax: 1_000_000 }
const budget = (bytesMax = 1_000_000): { budget: RingBudget; evictions: () => number } => {
  let evictions = 0
  return {
    budget: new RingBudget(bytesMax, () => {
      evictions++
    }),
    evictions: () => evictions
  }
}

t.test('a new ring is empty and knows its next sequence', async t => {
  const ring = new Ring(7, roomy, budget().budget)
  t.strictSame([ring.first, ring.next], [7, 7])
  for (const seq of [6, 7, 8]) t.equal(ring.groupOf(seq), undefined)
})

t.test('only frames that follow the last one may be pushed', async t => {
  const ring = new Ring(7, roomy, budget().budget)
  for (const first of [6, 8]) {
    t.throws(
      () => {
        ring.push(framesAt(first, 1))
      },
      { message: `Frames from ${first} do not follow 6` }
    )
  }
  ring.push(framesAt(7, 2))
  t.strictSame([ring.first, ring.next], [7, 9])
})

t.test('at each limit the oldest frames go: one less and exactly the limit are kept', async t => {
  const { length } = framesAt(1, 1).bytes
  for (const [limits, kept] of [
    [{ ringLengthMax: 3, ringBytesMax: 1_000_000 }, [1, 1, 1, 2, 3]],
    [{ ringLengthMax: 100, ringBytesMax: 3 * length }, [1, 1, 1, 2, 3]],
    [{ ringLengthMax: 100, ringBytesMax: 3 * length - 1 }, [1, 1, 2, 3, 4]]
  ] as const) {
    const ring = new Ring(1, limits, budget().budget)
    const firsts = [1, 2, 3, 4, 5].map(seq => {
      ring.push(framesAt(seq, 1))
      return ring.first
    })
    t.strictSame(firsts, kept)
  }
})

t.test('the newest group is kept at any size, because live readers are receiving it', async t => {
  const { budget: shared, evictions } = budget(10)
  const ring = new Ring(1, { ringLengthMax: 2, ringBytesMax: 10 }, shared)
  ring.push(framesAt(1, 5))
  t.strictSame([ring.first, ring.next], [1, 6])
  ring.push(framesAt(6, 1))
  t.strictSame([ring.first, ring.next], [6, 7])
  t.equal(evictions(), 1)
})

t.test(
  'all rings together stay within their budget, and removed frames return their bytes to it',
  async t => {
    const { length } = framesAt(1, 1).bytes
    const { budget: shared } = budget(4 * length)
    const rings = [new Ring(1, roomy, shared), new Ring(1, roomy, shared)] as const
    for (let seq = 1; seq <= 3; seq++) for (const ring of rings) ring.push(framesAt(seq, 1))
    t.equal(shared.bytes, 4 * length)
    for (const ring of rings) t.strictSame([ring.first, ring.next], [2, 4])
    rings[0].clear(1)
    t.equal(shared.bytes, 2 * length)
    rings[1].clear(1)
    t.equal(shared.bytes, 0)
  }
)

t.test('older frames are accepted only if they join exactly and fit every limit', async t => {
  const { length } = framesAt(1, 1).bytes
  const ring = new Ring(10, { ringLengthMax: 4, ringBytesMax: 1_000_000 }, budget().budget)
  ring.push(framesAt(10, 2))
  ring.pushOlder(framesAt(7, 2))
  t.equal(ring.first, 10, 'a gap')
  ring.pushOlder(framesAt(9, 2))
  t.equal(ring.first, 10, 'an overlap')
  ring.pushOlder(framesAt(7, 3))
  t.equal(ring.first, 10, 'one too many')
  ring.pushOlder(framesAt(8, 2))
  t.equal(ring.first, 8, 'exactly as many as fit')
  const narrow = new Ring(
    10,
    { ringLengthMax: 100, ringBytesMax: 2 * length + 10 },
    budget().budget
  )
  narrow.push(framesAt(10, 1))
  narrow.pushOlder(framesAt(9, 1, 50))
  t.equal(narrow.first, 10, 'too many bytes')
  const poor = new Ring(10, roomy, budget(length).budget)
  poor.push(framesAt(10, 1))
  poor.pushOlder(framesAt(9, 1))
  t.equal(poor.first, 10, 'no budget left')
})

type Step =
  | { readonly push: number; readonly size: number }
  | { readonly older: number; readonly gap: number }
  | { readonly clear: number }

t.test('after any steps it has the same content as the list', async () => {
  const steps: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ push: fc.integer({ min: 1, max: 6 }), size: fc.nat(200) })
    },
    {
      weight: 2,
      arbitrary: fc.record({
        older: fc.integer({ min: 1, max: 6 }),
        gap: fc.integer({ min: -1, max: 1 })
      })
    },
    { weight: 1, arbitrary: fc.record({ clear: fc.integer({ min: 20, max: 1000 }) }) }
  )
  fc.assert(
    fc.property(
      fc.array(steps, { maxLength: 40 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 3000 }),
      fc.integer({ min: 1, max: 3000 }),
      (steps, lengthMax, bytesMax, budgetMax) => {
        const { budget: shared } = budget(budgetMax)
        const ring = new Ring(100, { ringLengthMax: lengthMax, ringBytesMax: bytesMax }, shared)
        let groups: Frames[] = []
        let next = 100
        const isOver = (): boolean =>
          next - (groups[0]?.first ?? next) > lengthMax ||
          bytesOf(groups) > bytesMax ||
          bytesOf(groups) > budgetMax
        for (const step of steps) {
          if ('push' in step) {
            const frames = framesAt(next, step.push, step.size)
            ring.push(frames)
            groups.push(frames)
            next += step.push
            while (groups.length > 1 && isOver()) groups.shift()
          } else if ('older' in step) {
            const first = Math.max(1, (groups[0]?.first ?? next) - step.older + step.gap)
            const frames = framesAt(first, step.older)
            ring.pushOlder(frames)
            if (lastOf(frames) + 1 === (groups[0]?.first ?? next)) {
              groups.unshift(frames)
              if (isOver()) groups.shift()
            }
          } else {
            ring.clear(step.clear)
            groups = []
            next = step.clear
          }
          assert.equal(ring.next, next)
          assert.equal(ring.first, groups[0]?.first ?? next)
          assert.equal(shared.bytes, bytesOf(groups))
          for (let seq = ring.first - 2; seq <= next + 1; seq++) {
            const group = groups.find(frames => frames.first <= seq && seq <= lastOf(frames))
            assert.equal(ring.groupOf(seq), group)
            assert.equal(
              ring.frame(seq)?.toString(),
              group === undefined
                ? undefined
                : framesOf([
                    { room: 'r', seq, user: 'u', text: textOf(group, seq), ms: 1000 + seq }
                  ]).bytes.toString()
            )
          }
        }
      }
    ),
    { numRuns: 300 }
  )
})

function textOf(group: Frames, seq: number): string {
  // All texts of a group are x's of one length: what is left of the frame's JSON tells how many.
  const frame = framesFrom(group, seq).bytes.toString().split('\n\n')[0] ?? ''
  return /"text":"(x*)"/.exec(frame)?.[1] ?? ''
}
