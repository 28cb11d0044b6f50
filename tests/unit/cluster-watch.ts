// Watching the cluster: when it is looked at, and what a watcher is told.
import t from 'tap'
import { ClusterWatch } from '../../src/live/cluster-watch.js'
import { type ClusterDescription } from '../../src/redis/shards.js'
import { until } from '../support/until.js'

const INTERVAL_MS = 20

const described = (version: string, entriesTotal: number): ClusterDescription => ({
  version,
  shards: [
    {
      id: 'a',
      master: { id: 'a', address: '127.0.0.1:1', isUp: true },
      replicas: [],
      slots: [[0, 16383]],
      slotCount: 16384,
      keys: 1,
      memoryBytes: 2,
      operationsPerSecond: 3,
      entriesTotal,
      replicaLagBytes: null
    }
  ],
  moving: []
})

class Watcher {
  isFull = false
  readonly events: Array<{ event: string; data: unknown }> = []

  write(bytes: Buffer | string): void {
    const [, event = '', data = ''] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(String(bytes)) ?? []
    this.events.push({ event, data: JSON.parse(data) })
  }

  get names(): string[] {
    return this.events.map(({ event }) => event)
  }
}

const count = (names: readonly string[], name: string): number =>
  names.filter(other => other === name).length

t.test('the cluster is queried only while somebody watches it, once for all watchers', async t => {
  let looks = 0
  const watch = new ClusterWatch(
    async () => {
      looks++
      return described('v1', 0)
    },
    { intervalMs: INTERVAL_MS, onFault: error => t.fail(String(error)) }
  )
  const watchers = Array.from({ length: 50 }, () => new Watcher())
  for (const watcher of watchers) watch.add(watcher)
  await until('all have figures twice', () =>
    watchers.every(({ names }) => count(names, 'figures') >= 2)
  )
  t.ok(looks < 10, `${looks} looks for 50 watchers`)
  for (const watcher of watchers) watch.remove(watcher)
  await new Promise(resolve => setTimeout(resolve, INTERVAL_MS))
  const before = looks
  await new Promise(resolve => setTimeout(resolve, 5 * INTERVAL_MS))
  t.equal(looks, before, 'nobody watches, so nobody asks Redis')
})

t.test(
  'the whole picture comes first and after changes; rates cover the time between two looks',
  async t => {
    let description = described('v1', 100)
    const watch = new ClusterWatch(async () => description, {
      intervalMs: INTERVAL_MS,
      onFault: error => t.fail(String(error))
    })
    t.teardown(() => watch.close())
    const watcher = new Watcher()
    watch.add(watcher)
    await until('the second figures', () => count(watcher.names, 'figures') >= 2)
    t.same(watcher.names.slice(0, 3), ['cluster', 'figures', 'figures'])
    t.match(watcher.events[0]?.data, { version: 'v1', shards: { length: 1 }, moving: [] })
    t.match(watcher.events[1]?.data, { shards: [{ id: 'a', entriesPerSecond: null }] })
    t.match(watcher.events[2]?.data, { shards: [{ id: 'a', keys: 1, entriesPerSecond: 0 }] })
    description = described('v2', 1_000_000)
    await until('the new picture', () => count(watcher.names, 'cluster') === 2)
    await until('its figures', () => watcher.names.at(-1) === 'figures')
    const rates = watcher.events.slice(watcher.names.lastIndexOf('cluster') + 1)
    t.ok(
      (rates[0]?.data as { shards: Array<{ entriesPerSecond: number }> }).shards.every(
        ({ entriesPerSecond }) => entriesPerSecond > 1_000_000
      ),
      'a million entries came in less than a second'
    )
  }
)

t.test('a slow watcher misses figures, and gets the picture again before the next', async t => {
  let looks = 0
  const watch = new ClusterWatch(
    async () => {
      looks++
      return described('v1', 0)
    },
    { intervalMs: INTERVAL_MS, onFault: error => t.fail(String(error)) }
  )
  t.teardown(() => watch.close())
  const watcher = new Watcher()
  watch.add(watcher)
  await until('it has figures', () => count(watcher.names, 'figures') >= 1)
  watcher.isFull = true
  const { length } = watcher.events
  const before = looks
  await until('some looks', () => looks > before + 2)
  t.equal(watcher.events.length, length, 'nothing is put on a full stream')
  watcher.isFull = false
  await until('it has news', () => watcher.events.length > length + 1)
  t.same(watcher.names.slice(length, length + 2), ['cluster', 'figures'])
})

t.test('a failed look is reported, and the next look follows', async t => {
  const faults: unknown[] = []
  let looks = 0
  const watch = new ClusterWatch(
    async () => {
      if (looks++ === 0) throw new Error('no node answers')
      return described('v1', 0)
    },
    {
      intervalMs: INTERVAL_MS,
      onFault: error => {
        faults.push(error)
      }
    }
  )
  t.teardown(() => watch.close())
  const watcher = new Watcher()
  watch.add(watcher)
  await until('the picture', () => watcher.events.length > 0)
  t.match(faults, [{ message: 'no node answers' }])
})
