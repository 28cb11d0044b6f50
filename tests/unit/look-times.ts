// When a room is next compared with the store, with a clock that the test sets.
import t from 'tap'
import { LookTimes, Turns } from '../../src/live/look-times.js'
import { sequence } from '../support/client.js'

const INTERVAL_MS = 600_000
const AGAIN_MS = 10_000

/**
 * The times of the looks from `from` to `to`, tried each second, if nothing is heard except the
 * looks.
 */
function looksOf(looks: LookTimes, from: number, to: number, intervalMs = INTERVAL_MS): number[] {
  const found: number[] = []
  let heardAt = from
  for (let now = from; now <= to; now += 1000) {
    if (!looks.takeDue(now, heardAt, intervalMs)) continue
    found.push(now)
    heardAt = now
  }
  return found
}

t.test('rooms that opened at the same moment are looked at evenly over each interval', async t => {
  const times = sequence(1, 2000).map(() =>
    looksOf(new LookTimes(0, INTERVAL_MS), 0, 3 * INTERVAL_MS)
  )
  for (const third of [0, 1, 2]) {
    const looks = times.flat().filter(at => Math.floor(at / INTERVAL_MS) === third)
    t.ok(Math.abs(looks.length - 2000) < 20, `${looks.length} looks at 2000 rooms`)
    const half = looks.filter(at => at % INTERVAL_MS < INTERVAL_MS / 2).length
    t.ok(half > 850 && half < 1150, `${half} of them in the first half`)
  }
})

t.test('a room that was heard of is not looked at before an interval has passed', async t => {
  const looks = new LookTimes(0, INTERVAL_MS)
  looksOf(looks, 0, INTERVAL_MS)
  const heardAt = 2 * INTERVAL_MS - 1000
  for (let now = INTERVAL_MS + 1000; now < heardAt + INTERVAL_MS; now += 1000) {
    t.notOk(looks.takeDue(now, Math.min(now, heardAt), INTERVAL_MS))
  }
  t.ok(looks.takeDue(heardAt + INTERVAL_MS, heardAt, INTERVAL_MS))
})

t.test('a room in doubt is looked at within the spread, whatever is heard, and again', async t => {
  const looks = new LookTimes(0, INTERVAL_MS)
  looksOf(looks, 0, INTERVAL_MS)
  const from = INTERVAL_MS + 1000
  looks.doubt(from, 5000)
  const found: number[] = []
  for (let now = from; now < from + 60_000; now += 100) {
    if (looks.takeDue(now, now, INTERVAL_MS)) found.push(now - from)
  }
  t.equal(found.length, 2)
  t.ok((found[0] ?? Infinity) <= 5100, `the first after ${found[0]}`)
  t.ok((found[1] ?? 0) >= 5000 + AGAIN_MS - 100 && (found[1] ?? Infinity) <= 5100 + AGAIN_MS)
})

t.test('continuing doubts cause about one look for each spread', async t => {
  const looks = new LookTimes(0, INTERVAL_MS)
  let count = 0
  for (let now = 0; now < 100_000; now += 100) {
    if (now % 1000 === 0) looks.doubt(now, 10_000)
    if (looks.takeDue(now, now, INTERVAL_MS)) count++
  }
  t.ok(count >= 10 && count <= 60, `${count} looks in 100 s`)
})

t.test('a room that nobody reads is not looked at until somebody is back', async t => {
  const looks = new LookTimes(0, INTERVAL_MS)
  looksOf(looks, 0, INTERVAL_MS)
  t.same(looksOf(looks, INTERVAL_MS + 1000, 5 * INTERVAL_MS, Infinity).length < 2, true)
  const [first = Infinity] = looksOf(looks, 5 * INTERVAL_MS, 7 * INTERVAL_MS)
  t.ok(first <= 6 * INTERVAL_MS)
})

t.test('while nothing is in doubt, due looks are searched for every ten seconds', async t => {
  const turns = new Turns({ auditMs: INTERVAL_MS, recheckMs: 10_000 })
  const countIn = (from: number, to: number): number => {
    let count = 0
    for (let now = from; now < to; now += turns.timerMs) if (turns.takeDue(now)) count++
    return count
  }
  t.equal(countIn(0, 60_000), 6)
  turns.doubt(60_000, 10_000)
  t.equal(countIn(60_000, 80_000), 20_000 / turns.timerMs, 'each turn, while looks may be due')
  t.ok(countIn(80_000, 140_000) <= 9)
})
