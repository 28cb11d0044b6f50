import fc from 'fast-check'
import t from 'tap'
import { randomFrom, Zipf } from '../../src/cli/zipf.js'

const sizes = fc.integer({ min: 1, max: 2000 })
const exponents = fc.double({ min: 0, max: 10, noNaN: true })
const uniforms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 })

const LARGEST_BELOW_ONE = 1 - Number.EPSILON / 2

t.test('every rank is within the number of ranks', async () => {
  fc.assert(
    fc.property(sizes, exponents, uniforms, (size, exponent, uniform) => {
      const rank = new Zipf(size, exponent).rank(uniform)
      return Number.isInteger(rank) && rank >= 0 && rank < size
    })
  )
})

t.test('a larger number is never a lower rank, from the first rank to the last', async t => {
  fc.assert(
    fc.property(sizes, exponents, uniforms, uniforms, (size, exponent, one, other) => {
      const zipf = new Zipf(size, exponent)
      return zipf.rank(Math.min(one, other)) <= zipf.rank(Math.max(one, other))
    })
  )
  t.equal(new Zipf(1000, 1).rank(0), 0)
  t.equal(new Zipf(1000, 1).rank(LARGEST_BELOW_ONE), 999)
})

t.test('each rank has the share of all numbers that the law gives it', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.double({ min: 0, max: 3, noNaN: true }),
      (size, exponent) => {
        const zipf = new Zipf(size, exponent)
        const steps = 10_000
        const counts = new Array<number>(size).fill(0)
        for (let step = 0; step < steps; step++) counts[zipf.rank((step + 0.5) / steps)]!++
        const weights = counts.map((_, rank) => 1 / (rank + 1) ** exponent)
        const sum = weights.reduce((a, b) => a + b)
        // Each end of a rank's share may fall anywhere between two steps.
        return counts.every(
          (count, rank) => Math.abs(count / steps - weights[rank]! / sum) <= 2 / steps
        )
      }
    ),
    { numRuns: 30 }
  )
})

t.test(
  "the busiest of a thousand by Zipf's law writes 13 %, and twice as much as the second",
  async t => {
    const zipf = new Zipf(1000, 1)
    const random = randomFrom(1)
    const counts = new Array<number>(1000).fill(0)
    for (let draw = 0; draw < 200_000; draw++) counts[zipf.rank(random())]!++
    const [first, second] = [counts[0]! / 200_000, counts[1]! / 200_000]
    t.ok(Math.abs(first - 0.1336) < 0.005, `the first: ${first}`)
    t.ok(Math.abs(first / second - 2) < 0.1, `the second: ${second}`)
  }
)

t.test('the same seed gives the same numbers, all of [0, 1) and evenly', async () => {
  fc.assert(
    fc.property(seeds, seed => {
      const [one, other] = [randomFrom(seed), randomFrom(seed)]
      const tenths = new Array<number>(10).fill(0)
      for (let draw = 0; draw < 10_000; draw++) {
        const value = one()
        if (value !== other() || !(value >= 0 && value < 1)) return false
        tenths[Math.floor(value * 10)]!++
      }
      // 1000 are expected, give or take 30. A deviation of six times that does not happen by
      // chance.
      return tenths.every(count => Math.abs(count - 1000) < 180)
    }),
    { numRuns: 20 }
  )
})

t.test('different seeds give different numbers', async () => {
  fc.assert(
    fc.property(seeds, seeds, (one, other) => {
      fc.pre(one !== other)
      const [a, b] = [randomFrom(one), randomFrom(other)]
      return [a(), a(), a()].join() !== [b(), b(), b()].join()
    })
  )
})
