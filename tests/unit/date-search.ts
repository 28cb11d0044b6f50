// The search for a time in a room's history, on rooms that are arrays.
import fc from 'fast-check'
import t from 'tap'
import { seqAt } from '../../web/date-search.js'
import { type Entry } from '../../web/entry.js'

/** @param times of each entry in ms; undefined for a lost one */
function roomOf(times: ReadonlyArray<number | undefined>) {
  const entries = times.map((ms, index): Entry =>
    ms === undefined
      ? { room: 'r', seq: index + 1, lost: true }
      : { room: 'r', seq: index + 1, user: 'u', text: 't', at: new Date(ms).toISOString() }
  )
  let requests = 0
  return {
    requests: () => requests,
    async readPage({ after = 0, limit = 500 }: { after?: number; limit?: number }) {
      requests++
      return entries.slice(after, after + limit)
    }
  }
}

t.test('it finds the first entry at or after a time, whatever is lost in between', async t => {
  const times = fc.array(fc.option(fc.nat(1000), { nil: undefined, freq: 4 }), { maxLength: 400 })
  await fc.assert(
    fc.asyncProperty(times, fc.nat(1010), async (times, ms) => {
      let last = 0
      const ordered = times.map(time =>
        time === undefined ? undefined : (last = Math.max(last, time))
      )
      const expected = ordered.findIndex(time => time !== undefined && time >= ms)
      const found = await seqAt(roomOf(ordered), ms, ordered.length)
      if (expected === -1) return found > ordered.length || ordered[found - 1] === undefined
      return found === expected + 1
    })
  )
  t.equal(await seqAt(roomOf([]), 5, 0), 1, 'an empty room')
})

t.test('a room of a million messages takes few requests', async t => {
  const room = roomOf(Array.from({ length: 1_000_000 }, (_, index) => index))
  t.equal(await seqAt(room, 123_456, 1_000_000), 123_457)
  t.ok(room.requests() <= 18, `${room.requests()} requests`)
})
