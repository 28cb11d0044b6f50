// Whose page is read first when many wait. Reads are stand-ins that end when the test decides.
import t from 'tap'
import { FairTurns, LONG_BYTES } from '../../src/fair-turns.js'
import { PageSizes } from '../../src/page-sizes.js'
import { sequence } from '../support/client.js'
import { until } from '../support/until.js'

class World {
  readonly begun: string[] = []
  readonly fair: FairTurns
  readonly #ends = new Map<string, (error?: Error) => void>()
  readonly #all: Array<Promise<unknown>> = []

  constructor(readsMax: number, patienceMs?: number) {
    // Each slot is a shard.
    this.fair = new FairTurns(readsMax, String, patienceMs)
  }

  ask(name: string, client = 'ann', bytes = 1, slot?: number): void {
    const work = { client, bytes, ...(slot === undefined ? {} : { slot }) }
    const read = this.fair.run(work, async () => {
      this.begun.push(name)
      await new Promise<void>((resolve, reject) => {
        this.#ends.set(name, error => (error === undefined ? resolve() : reject(error)))
      })
    })
    read.catch(() => undefined)
    this.#all.push(read)
  }

  async end(name: string, error?: Error): Promise<void> {
    this.#ends.get(name)?.(error)
    await new Promise(resolve => setImmediate(resolve))
  }

  /** Ends one read after the other, in the order in which they began. */
  async endAll(): Promise<void> {
    await this.end('none')
    for (let index = 0; index < this.begun.length; index++) await this.end(this.begun[index] ?? '')
    await Promise.allSettled(this.#all)
  }
}

t.test('at most so many are read at once, and a failed one makes room', async t => {
  const world = new World(2)
  for (const name of ['a', 'b', 'c', 'd']) world.ask(name)
  await world.end('none')
  t.strictSame(world.begun, ['a', 'b'])
  t.equal(world.fair.waiting, 2)
  await world.end('a', new Error('no'))
  t.strictSame(world.begun, ['a', 'b', 'c'])
  await world.endAll()
  t.strictSame(world.begun, ['a', 'b', 'c', 'd'])
  t.equal(world.fair.waiting, 0)
})

t.test('a client with one page does not wait for the hundred pages of another', async t => {
  const world = new World(1)
  for (const n of sequence(1, 100)) world.ask(`mallory ${n}`, 'mallory')
  world.ask('ann', 'ann')
  world.ask('bob', 'bob')
  await world.endAll()
  t.strictSame(world.begun.slice(0, 5), ['mallory 1', 'mallory 2', 'ann', 'bob', 'mallory 3'])
  t.equal(world.begun.length, 102)
})

t.test(
  "of a client's own pages the shortest comes first, and every fourth time the oldest",
  async t => {
    const world = new World(1)
    world.ask('first')
    for (const [name, bytes] of [
      ['long', 300],
      ['short', 100],
      ['middle', 200],
      ['short too', 100]
    ] as const) {
      world.ask(name, 'ann', bytes)
    }
    await world.endAll()
    t.strictSame(world.begun, ['first', 'short', 'short too', 'long', 'middle'])
  }
)

for (const { readsMax, longMax } of [
  { readsMax: 1, longMax: 1 },
  { readsMax: 7, longMax: 1 },
  { readsMax: 8, longMax: 2 },
  { readsMax: 32, longMax: 8 }
]) {
  t.test(`of ${readsMax} places, long pages take at most ${longMax}`, async t => {
    const world = new World(readsMax)
    for (const n of sequence(1, 40)) world.ask(`long ${n}`, `client ${n}`, LONG_BYTES + 1)
    await world.end('none')
    t.equal(world.begun.length, longMax)
    for (const n of sequence(1, readsMax - longMax)) world.ask(`short ${n}`, 'ann', LONG_BYTES)
    await world.end('none')
    t.equal(world.begun.length, readsMax, 'short pages have the others at once')
    await world.endAll()
  })
}

for (const readsMax of [1, 2, 8]) {
  t.test(`with ${readsMax} places, neither kind waits for ever behind the other`, async t => {
    const world = new World(readsMax)
    for (const n of sequence(1, 50)) {
      world.ask(`short ${n}`)
      world.ask(`long ${n}`, 'ann', LONG_BYTES + 1)
    }
    await world.end('none')
    for (let index = 0; index < 40; index++) await world.end(world.begun[index] ?? '')
    const longs = world.begun.slice(0, 40).filter(name => name.startsWith('long')).length
    t.ok(longs > 0 && longs < 40, `${longs} of 40 were long`)
    await world.endAll()
    t.equal(world.begun.length, 100)
  })
}

t.test('reads that wait for a silent shard give their places away, up to a limit', async t => {
  const world = new World(2, 5)
  for (const n of sequence(1, 30)) world.ask(`silent ${n}`, 'ann')
  // Two have a place, and sixteen have given theirs away.
  await until('no more begin', () => world.begun.length === 18)
  world.ask('other', 'bob')
  await world.end('silent 1')
  await until('one more is late', () => world.begun.length === 19)
  await world.end('silent 2')
  await until('it is the turn of another client', () => world.begun.at(-1) === 'other')
  await world.endAll()
  t.equal(world.begun.length, 31)
  t.equal(world.fair.waiting, 0)
})

for (const { placesMax, shares } of [
  // A single place goes to whoever is next.
  { placesMax: 1, shares: [1] },
  { placesMax: 2, shares: [1, 1] },
  { placesMax: 4, shares: [3, 1] },
  { placesMax: 16, shares: [13, 2, 1] },
  { placesMax: 32, shares: [25, 5, 1] }
]) {
  t.test(`of ${placesMax} places, silent shards take ${shares.join(', then ')}`, async t => {
    const world = new World(placesMax)
    const begun = (): number => world.begun.length
    for (const [shard, share] of shares.entries()) {
      const before = begun()
      for (const n of sequence(1, 50)) world.ask(`${shard}: ${n}`, 'ann', 1, shard)
      await world.end('none')
      t.equal(begun() - before, share)
    }
    const isFull = begun() === placesMax
    world.ask('other', 'ann', 1, 99)
    await world.end('none')
    t.equal(world.begun.at(-1) === 'other', !isFull, 'a page of another shard is read at once')
    await world.endAll()
    t.equal(begun(), 50 * shares.length + 1, 'and each is in the end')
  })
}

t.test('one silent shard cannot take all places for long pages, nor for what is late', async t => {
  // Eight places for long pages, and as many for late ones.
  const world = new World(32, 20)
  for (const n of sequence(1, 100)) world.ask(`silent ${n}`, 'ann', LONG_BYTES + 1, 1)
  await until('no more begin', () => world.begun.length === 12)
  for (let n = 1; n <= 5; n++) {
    world.ask(`other ${n}`, 'ann', LONG_BYTES + 1, 2)
    await world.end('none')
    t.equal(world.begun.at(-1), `other ${n}`, 'at once')
    await world.end(`other ${n}`)
  }
  t.equal(world.begun.length, 17)
  await world.endAll()
  t.equal(world.fair.waiting, 0)
})

t.test('a page is expected to have entries as long as those of the last one', t => {
  const sizes = new PageSizes()
  t.ok(
    sizes.expected('messages a', 50) < LONG_BYTES,
    'an ordinary page of an unknown room is short'
  )
  t.ok(sizes.expected('messages a', 500) < LONG_BYTES)
  t.ok(sizes.expected('messages a', 1000) > LONG_BYTES)
  sizes.note('messages a', 2, 32_000)
  t.equal(sizes.expected('messages a', 50), 800_000)
  sizes.note('messages a', 0, 50)
  t.equal(sizes.expected('messages a', 50), 800_000, 'an empty page says nothing')
  sizes.note('messages a', 10, 1000)
  t.equal(sizes.expected('messages a', 1000), 100_000)
  t.end()
})
