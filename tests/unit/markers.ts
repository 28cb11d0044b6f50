// When the service calls data lost. The keys are in a map, and each read is answered when the test
// says so.
import t from 'tap'
import { Markers, markers } from '../../src/redis/markers.js'
import { Topology } from '../../src/redis/topology.js'

class Keys {
  readonly values = new Map<string, string>()
  /** Called before each read. */
  onRead: (key: string) => void = () => undefined

  process(): Markers {
    return new Markers({
      get: async (_slot, key) => {
        this.onRead(key)
        return this.values.get(key) ?? null
      },
      set: async (_slot, [, key = '', word = '']) => {
        this.values.set(key, word)
      },
      isStranded: async () => false,
      topology: () => Topology.empty()
    })
  }
}

t.test('the first process writes the markers, and the next ones find them', async t => {
  const keys = new Keys()
  t.equal(await keys.process().check(), undefined)
  t.same(new Set(keys.values.values()), new Set(['complete']))
  t.equal(keys.values.size, markers.length)
  const next = keys.process()
  t.equal(await next.check(), undefined)
  t.ok(next.areKnown)
})

t.test('a process that looks while another one writes all markers finds nothing lost', async t => {
  for (const seen of [1, 2, markers.length - 1]) {
    const keys = new Keys()
    let reads = 0
    keys.onRead = () => {
      // The first `seen` reads are answered before the other process writes, the rest after that.
      if (reads++ === seen) for (const { key } of markers) keys.values.set(key, 'complete')
    }
    const late = keys.process()
    t.equal(await late.check(), undefined, `${seen} read before`)
    t.ok(late.areKnown)
  }
})

t.test('a process that was interrupted while it wrote has lost nothing', async t => {
  const keys = new Keys()
  for (const { key } of markers.slice(0, 10)) keys.values.set(key, 'begun')
  const next = keys.process()
  t.equal(await next.check(), undefined)
  t.ok(next.areKnown)
  t.same(new Set(keys.values.values()), new Set(['complete']))
})

t.test('one missing marker beside complete ones is a loss, at start and later', async t => {
  const keys = new Keys()
  const running = keys.process()
  await running.check()
  keys.values.delete(markers[5]?.key ?? '')
  t.match(await running.check(), { code: 'STORE_LOST' })
  t.match(await keys.process().check(), { code: 'STORE_LOST' })
  keys.values.clear()
  t.match(await running.check(), { code: 'STORE_LOST' })
})
