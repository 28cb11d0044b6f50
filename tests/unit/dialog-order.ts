// The order of a person's dialogs, with stand-ins for the store: which heads are read, and when.
import t from 'tap'
import { FairTurns } from '../../src/fair-turns.js'
import { DIALOGS_MAX, DialogOrder } from '../../src/store/dialog-order.js'
import { type Dialogs, type OwnDialog } from '../../src/store/dialogs.js'
import { sequence } from '../support/client.js'

const EVERY_MS = 10

/** An order of rooms whose last messages are at `heads`, and the rooms that were read. */
function orderOf(heads: ReadonlyMap<string, number>): {
  readonly order: DialogOrder
  readonly read: string[]
} {
  const read: string[] = []
  const own = [...heads.keys()].map((room): OwnDialog => ({ room, ms: 1 }))
  const order = new DialogOrder(
    {
      head: async room => {
        read.push(room)
        const ms = heads.get(room)
        return ms === undefined ? undefined : { seq: 1, reference: `ann.0/${ms}-0` }
      }
    },
    // Only this is asked.
    { newest: async () => own } as unknown as Dialogs,
    new FairTurns(256, () => undefined)
  )
  return { order, read }
}

/** Runs something with a clock that stands still until it is moved. */
async function withClock(
  run: (advance: (ms: number) => void, nowMs: () => number) => Promise<void>
): Promise<void> {
  const { now } = performance
  let ms = 1_000_000
  performance.now = () => ms
  try {
    await run(
      by => (ms += by),
      () => ms
    )
  } finally {
    performance.now = now
  }
}

t.test('the rooms with the latest messages come first, and a new message moves one up', async t => {
  const heads = new Map(sequence(1, 9).map(n => [`room ${n}`, 100 + n]))
  const { order } = orderOf(heads)
  const first = async (): Promise<string[]> =>
    (await order.places('ann', undefined, 3)).map(({ room }) => room)
  await withClock(async advance => {
    t.strictSame(await first(), ['room 9', 'room 8', 'room 7'])
    heads.set('room 2', 200)
    advance(2000)
    t.strictSame(await first(), ['room 2', 'room 9', 'room 8'])
  })
})

t.test('pages of any length are parts of one order', async t => {
  // Many have the same time; then their names decide.
  const heads = new Map(sequence(1, 300).map(n => [`room ${(n * 37) % 300}`, (n * 17) % 23]))
  const { order } = orderOf(heads)
  const all = [...heads]
    .map(([room, ms]) => ({ room, ms: Math.max(1, ms) }))
    .sort((a, b) => b.ms - a.ms || (a.room < b.room ? 1 : -1))
    .map(({ room }) => room)
  await withClock(async () => {
    for (const length of [1, 7, 299, 300, 301]) {
      const listed: string[] = []
      for (let last; ;) {
        const page = await order.places('ann', last, length)
        listed.push(...page.map(({ room }) => room))
        last = page.at(-1)
        if (page.length < length) break
      }
      t.strictSame(listed, all, `pages of ${length}`)
    }
  })
})

t.test('a head that cannot be read is read again by the next list', async t => {
  const heads = new Map([['room', 5]])
  const { order, read } = orderOf(heads)
  heads.get = () => {
    throw new Error('out of reach')
  }
  await t.rejects(order.places('ann', undefined, 1), { message: 'out of reach' })
  heads.get = () => 7
  t.match(await order.places('ann', undefined, 1), [{ room: 'room', ms: 7 }])
  t.equal(read.length, 2)
})

t.test('lists that follow each other share the reads, and none reads many again', async t => {
  const heads = new Map(sequence(1, DIALOGS_MAX).map(n => [`room ${n}`, n]))
  const { order, read } = orderOf(heads)
  await withClock(async (advance, nowMs) => {
    const lastRead = new Map<string, number>()
    const begunMs = nowMs()
    let most = 0
    for (let list = 0; list < 1000; list++) {
      read.length = 0
      await order.places('ann', undefined, 50)
      for (const room of read) lastRead.set(room, nowMs())
      if (list === 0) t.equal(read.length, DIALOGS_MAX, 'the first one reads all')
      else most = Math.max(most, read.length)
      const oldest = Math.min(...lastRead.values())
      if (nowMs() - oldest > 2000) t.fail(`a head is ${nowMs() - oldest} ms old`)
      advance(EVERY_MS)
    }
    t.equal(nowMs() - begunMs, 10_000)
    t.ok(most > 0 && most < 50, `a later list reads ${most} heads at most`)
  })
})
