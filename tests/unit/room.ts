// A room and its readers against a store that is a list in memory: publications that arrive early,
// twice, or contradict what was delivered, and a log that disappears or is rewound behind the
// room's back.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { encodeDeletion, encodePublication, LOOK } from '../../src/message/publication.js'
import { SingleOutput } from '../../src/live/output.js'
import { Pages } from '../../src/live/pages.js'
import { Reader, type JoinRequest } from '../../src/live/reader.js'
import { RingBudget } from '../../src/live/ring.js'
import { Room, type RoomEvents } from '../../src/live/room.js'
import { BEHIND_MS_MIN } from '../../src/live/room-sync.js'
import { type Entry } from '../../src/message/message.js'
import { sequence } from '../support/client.js'
import { until } from '../support/until.js'

const message = (seq: number, text = `text ${seq}`, ms = 1000 + seq) => ({
  room: 'r',
  seq,
  user: 'ann',
  text,
  ms
})
const messages = (from: number, to: number) => sequence(from, to).map(seq => message(seq))
const publication = (...groups: ReadonlyArray<ReturnType<typeof messages>>): Buffer =>
  Buffer.from(encodePublication(groups.flat()))

type World = {
  readonly room: Room
  readonly budget: RingBudget
  /** What the store has. Tests replace it. */
  store: Entry[]
  /** How often the head was read so far. */
  looks: number
  goneBy: 'deleted' | 'trimmed'
  readonly told: string[]
  /**
   * Awaited between a question to the store and its answer. The answer is what the store had when
   * it was asked.
   */
  before: () => Promise<void>
  /** Called after a reader was written to. */
  written: () => void
  readonly join: (request?: Partial<JoinRequest>) => {
    readonly text: () => string
    readonly seqs: () => number[]
  }
}

/**
 * A room that knows `head` messages, or, without `hasBegun`, one that has not read its head yet.
 */
async function worldOf(t: Test, head: number, hasBegun = true): Promise<World> {
  const budget = new RingBudget(1_000_000, () => undefined)
  const told: string[] = []
  const events: RoomEvents = {
    gap: () => {
      told.push('gap')
    },
    reset: reason => {
      told.push(reason)
    },
    earlyFull: () => {
      told.push('earlyFull')
    },
    failed: what => {
      told.push(what)
    }
  }
  const range = async (_room: string, from: number, to: number): Promise<Entry[]> => {
    const { store } = world
    await world.before()
    return store.filter(({ seq }) => seq >= from && seq <= to)
  }
  const log = {
    head: async () => {
      world.looks++
      const { store } = world
      await world.before()
      const last = store.at(-1)
      return last === undefined ? undefined : logEntryOf(last)
    },
    range: async (room: string, from: number, to: number) =>
      (await range(room, from, to)).map(logEntryOf),
    expires: () => false,
    horizon: async () => ({ first: world.store[0]?.seq ?? 1, reason: world.goneBy })
  }
  // The part of a store that a room uses.
  const history = { range }
  const shardOf = (): undefined => undefined
  const pages = new Pages(
    history,
    {
      pageLength: 512,
      pageLengthMax: 512,
      pageBytesMax: 1e6,
      socketBytesMax: 1000,
      pagesBytesMax: 1e6,
      pageReadsMax: 4
    },
    shardOf
  )
  const room = new Room(
    'r',
    { log, history, shardOf },
    {
      settings: { ringLengthMax: 100, ringBytesMax: 1e5, earlyLengthMax: 100, gapWaitMs: 5 },
      budget,
      pages
    },
    events
  )
  t.teardown(() => {
    room.close()
  })
  const world: World = {
    room,
    budget,
    store: messages(1, head),
    looks: 0,
    goneBy: 'trimmed',
    told,
    before: async () => {
      await sleep(1)
    },
    written: () => undefined,
    join: request => {
      let text = ''
      const write = (bytes: Buffer | string): void => {
        text += String(bytes)
        world.written()
      }
      const stream = {
        isFull: false,
        hasEnded: false,
        write,
        writeIfIdle: write,
        drained: async () => undefined,
        drainedWithin: async () => true,
        fail: () => {
          stream.hasEnded = true
        }
      }
      t.teardown(() => {
        stream.hasEnded = true
      })
      // The part of a stream that a reader uses.
      const reader = new Reader(room, new SingleOutput(stream), {
        after: undefined,
        last: undefined,
        ...request
      })
      room.add(reader)
      reader.start().catch((error: unknown) => {
        t.fail(String(error))
      })
      return {
        text: () => text,
        seqs: () => [...text.matchAll(/"seq":(\d+)/g)].map(([, seq]) => Number(seq))
      }
    }
  }
  if (hasBegun) await room.sync.run()
  world.looks = 0
  return world
}

const logEntryOf = (entry: Entry) => ({ seq: entry.seq, reference: `ann.0/${entry.ms}-0` })

t.test(
  'a reader that finds the log missing lets other work run, is told nothing, and continues when the log is back',
  async t => {
    const world = await worldOf(t, 3)
    const { store } = world
    world.store = []
    world.before = async () => undefined
    const reader = world.join()
    await sleep(100)
    t.ok(world.looks < 15, `${world.looks} looks`)
    t.equal(reader.text(), '')
    world.store = store
    await until('it has all', () => reader.seqs().length === 3)
    t.notMatch(reader.text(), /event: reset/)
  }
)

t.test(
  'a log that is started again while a room looks for the old one resets the readers, whatever they got of the new one',
  async t => {
    const world = await worldOf(t, 1)
    const reader = world.join()
    await until('it is live', () => reader.text().includes('event: live'))
    world.store = []
    void world.room.sync.run()
    await until('the log is gone', () => world.told.includes('sync'))
    const anew = [message(1, 'other', 7), message(2, 'more', 8)]
    world.store = anew
    world.room.receive(publication(anew.slice(1)))
    await until('it is told', () => reader.text().includes('"reason":"rewritten"'))
    await until('it has the new log', () =>
      /event: live\ndata: .*"head":2}\n\n$/.test(reader.text())
    )
    t.match(reader.text(), /event: reset[^]*"text":"other"[^]*"text":"more"[^]*event: live/)
  }
)

t.test(
  'a late publication from a log that is gone does not hide the entry in its place',
  async t => {
    for (const arrival of ['before the log is read', 'while it is compared'] as const) {
      const world = await worldOf(t, 3)
      const reader = world.join({ after: { seq: 3, ms: 1003 } })
      await until('it is live', () => reader.text().includes('event: live'))
      // A failover has lost the fourth message, and its sequence was given out again. The new
      // message's publication was lost, so the room looks at the log. Meanwhile that of the old one
      // arrives.
      world.store = [...messages(1, 3), message(4, 'new', 5004)]
      let asked = 0
      world.before = async () => {
        if (++asked === (arrival === 'before the log is read' ? 1 : 2)) {
          world.room.receive(publication([message(4, 'old')]))
        }
        await sleep(1)
      }
      const syncing = world.room.sync.run()
      await syncing
      t.ok(world.told.includes('rewritten'), arrival)
      await until('its readers are told', () => reader.text().includes('event: reset'))
      world.store.push(message(5, 'next', 5005))
      world.room.receive(publication([message(5, 'next', 5005)]))
      await until('they have all', () => reader.text().includes('"text":"next"'))
      t.match(reader.text().split('event: reset')[1], /"text":"new"/)
      t.notMatch(reader.text().split('event: reset')[1], /"text":"old"/)
    }
  }
)

t.test('what is published while a room is reset is not missed', async t => {
  const world = await worldOf(t, 3)
  const reader = world.join({ after: { seq: 3, ms: 1003 } })
  await until('it is live', () => reader.text().includes('event: live'))
  world.store = [message(1, 'new', 5001), message(2, 'new', 5002), message(3, 'new', 5003)]
  let asked = 0
  world.before = async () => {
    await sleep(1)
    if (++asked !== 1) return
    // The head has been read, and the reset to it is next.
    world.store = [...world.store, message(4, 'late', 5004)]
    world.room.receive(publication([message(4, 'late', 5004)]))
  }
  await world.room.sync.run()
  t.ok(world.told.includes('rewritten'))
  await until(
    'it is there',
    () => reader.text().split('event: reset')[1]?.includes('late') === true
  )
})

t.test(
  'a reader that the room resets while its cursor is looked up is not reset again, and misses nothing',
  async t => {
    const world = await worldOf(t, 300)
    let answer = (): void => undefined
    world.before = async () => {
      await new Promise<void>(resolve => {
        answer = resolve
      })
    }
    const reader = world.join({ after: { seq: 300, ms: 9 } })
    await sleep(1)
    const contradict = answer
    world.before = async () => undefined
    world.store = messages(1, 200)
    // The page for its cursor arrives while the messages after the reset are being written.
    world.written = () => {
      if (reader.seqs().length > 0) contradict()
    }
    await world.room.sync.run()
    await until('it is live', () => reader.text().includes('event: live'))
    t.same(reader.text().match(/"reason":"[a-z-]+"/g), ['"reason":"rewound"'])
    t.same(reader.seqs(), sequence(1, 200))
  }
)

t.test(
  'a reader that a reset made live while its cursor was looked up gets what follows once',
  async t => {
    const world = await worldOf(t, 300)
    let answer = (): void => undefined
    world.before = async () => {
      await new Promise<void>(resolve => {
        answer = resolve
      })
    }
    const reader = world.join({ after: { seq: 300, ms: 9 } })
    await sleep(1)
    const cursorIsFound = answer
    world.before = async () => undefined
    world.store = messages(1, 200)
    await world.room.sync.run()
    await until('it is live', () => reader.text().includes('event: live'))
    world.store = messages(1, 202)
    world.room.receive(publication(messages(201, 202)))
    await until('it has them', () => reader.seqs().includes(202))
    cursorIsFound()
    await sleep(20)
    t.same(reader.seqs(), sequence(1, 202))
  }
)

t.test('several gaps are closed by one look at the log', async t => {
  const world = await worldOf(t, 2)
  const reader = world.join()
  await until('it is live', () => reader.text().includes('event: live'))
  world.store = messages(1, 12)
  world.room.receive(publication(messages(4, 5)))
  world.room.receive(publication(messages(8, 9)))
  await until('both are closed', () => reader.seqs().includes(9))
  t.equal(world.looks, 1)
  t.equal(world.room.head, 9, 'what lies beyond may not be on a replica yet')
})

t.test('a gap that closes by itself while it is read is no failure', async t => {
  const world = await worldOf(t, 2)
  const reader = world.join()
  await until('it is live', () => reader.text().includes('event: live'))
  world.store = messages(1, 5)
  // The head is read first, then the last delivered entry, then the gap.
  let questions = 0
  world.before = async () => {
    questions++
    if (questions === 3) world.room.receive(publication(messages(3, 4)))
  }
  world.room.receive(publication(messages(5, 5)))
  await until('the gap was read', () => questions >= 3 && !world.room.sync.isRunning)
  await until('it is closed', () => reader.seqs().includes(5))
  t.same(world.told, ['gap'])
  t.same(reader.seqs(), sequence(1, 5))
})

t.test(
  'a gap after what a room finds when it opens is closed without another publication',
  async t => {
    const world = await worldOf(t, 2, false)
    const { room } = world
    room.receive(publication(messages(5, 5)))
    const syncing = room.sync.run()
    world.store = messages(1, 5)
    await syncing
    t.equal(room.head, 2)
    await until('it is closed', () => room.head === 5)
  }
)

t.test('a cursor beyond two gaps is not mistaken for one beyond the head', async t => {
  const world = await worldOf(t, 2)
  world.store = messages(1, 12)
  world.room.receive(publication(messages(4, 5)))
  const reader = world.join({ after: { seq: 12, ms: 1012 } })
  await until('it is live', () => reader.text().includes('event: live'))
  t.notMatch(reader.text(), /event: reset/)
})

t.test(
  'frames that overlap with another epoch are not delivered, and the store is asked',
  async t => {
    const world = await worldOf(t, 5)
    const reader = world.join()
    await until('it is live', () => reader.text().includes('event: live'))
    world.store = [
      ...messages(1, 3),
      ...[4, 5, 6].map(seq => message(seq, `other ${seq}`, 2000 + seq))
    ]
    world.room.receive(publication([5, 6].map(seq => message(seq, `other ${seq}`, 2000 + seq))))
    await until('it was told', () => reader.text().includes('"reason":"rewritten"'))
    await until('it has the rest', () => reader.text().includes('other 6'))
    const [before = '', after = ''] = reader.text().split('event: reset')
    t.notMatch(before, /other/)
    t.same(
      [...after.matchAll(/"(text|other) (\d)"/g)].map(([, kind, seq]) => `${kind} ${seq}`),
      ['text 1', 'text 2', 'text 3', 'other 4', 'other 5', 'other 6']
    )
  }
)

t.test('a lost message that was put back is read by later readers', async t => {
  const world = await worldOf(t, 0)
  world.store = [message(1), { room: 'r', seq: 2, ms: 1002, lost: true }, message(3)]
  await world.room.sync.run()
  const early = world.join()
  await until('it is live', () => early.text().includes('event: live'))
  t.match(early.text(), /event: lost/)
  world.store = messages(1, 3)
  world.room.receive(publication(messages(1, 3)))
  const late = world.join()
  await until('it is live', () => late.text().includes('event: live'))
  t.notMatch(late.text(), /event: lost/)
  t.match(late.text(), /text 2/)
})

t.test('the audit is due when nothing was delivered, even if publications arrived', async t => {
  const world = await worldOf(t, 5)
  const before = world.room.heardAt
  await sleep(5)
  world.room.receive(publication(messages(4, 5)))
  t.equal(world.room.heardAt, before, 'a duplicate')
  world.room.receive(publication(messages(6, 6)))
  t.ok(world.room.heardAt > before)
})

t.test(
  'frames that arrived early and found no space are read later, whether they were the first or the last',
  async t => {
    for (const arrivals of [[messages(10, 120)], [messages(10, 60), messages(61, 120)]]) {
      const world = await worldOf(t, 5)
      const reader = world.join()
      await until('it is live', () => reader.text().includes('event: live'))
      world.store = messages(1, 120)
      for (const arrival of arrivals) world.room.receive(publication(arrival))
      t.ok(world.told.includes('earlyFull'))
      // The gap closes by itself, and nobody publishes the last frames again.
      world.room.receive(publication(messages(6, 9)))
      await until('they are there', () => reader.seqs().at(-1) === 120)
      t.same(reader.seqs(), sequence(1, 120))
    }
  }
)

t.test('anything else that is published on its channel makes the room look at the log', async t => {
  const world = await worldOf(t, 5)
  world.store = messages(1, 6)
  world.room.receive(Buffer.from(LOOK))
  await until('it is there', () => world.room.head === 6)
})

t.test('a look at an empty room finds a message whose publication was lost', async t => {
  const world = await worldOf(t, 0)
  const { looks } = world
  await world.room.sync.glance()
  t.equal(world.looks, looks + 1, 'nothing is there, and nothing else is asked')
  world.store = messages(1, 2)
  await world.room.sync.glance()
  t.equal(world.room.head, 2)
})

t.test(
  'a deleted room resets its readers, after its publication or after a look at the log',
  async t => {
    for (const isHeard of [true, false]) {
      const world = await worldOf(t, 9)
      const reader = world.join({ last: 3 })
      await until('it is live', () => reader.text().includes('event: live'))
      world.goneBy = 'deleted'
      world.store = messages(12, 13)
      if (isHeard) world.room.receive(Buffer.from(encodeDeletion(11, 5)))
      else await world.room.sync.run()
      await world.room.sync.run()
      await until('it has the new ones', () => reader.seqs().at(-1) === 13)
      t.strictSame(reader.seqs(), [7, 8, 9, 12, 13])
      t.match(reader.text(), /event: reset\ndata: [^\n]*"reason":"deleted"/)
      t.same(world.told, ['deleted'])
      // Late or repeated publications from before the deletion change nothing.
      world.room.receive(publication(messages(8, 9)))
      world.room.receive(Buffer.from(encodeDeletion(11, 5)))
      t.equal(world.room.head, 13)
      t.same(world.told, ['deleted'])
    }
  }
)

t.test('a closed room gives its share of the common budget back', async t => {
  const world = await worldOf(t, 0)
  world.store = messages(1, 9)
  let questions = 0
  // The second read is the page; the first was the head.
  world.before = async () => {
    if (++questions === 2) world.room.close()
  }
  await world.room.sync.run()
  t.equal(questions, 2)
  t.equal(world.budget.bytes, 0)
})

const changeOf = (seq: number, changes: number, text?: string): Entry => ({
  room: 'r',
  seq,
  ms: 1000 + seq,
  changes,
  text
})
const deletedOf = (seq: number): Entry => ({ room: 'r', seq, ms: 1000 + seq, deleted: true })

t.test('once a deletion has arrived, nobody gets the text from the ring or a page', async t => {
  const world = await worldOf(t, 0)
  world.store = messages(1, 3)
  await world.room.sync.run()
  const first = world.join()
  await until('it is live', () => first.text().includes('event: live'))
  t.match(first.text(), /text 2/)
  world.store = [message(1), deletedOf(2), message(3), changeOf(4, 2)]
  world.room.receive(Buffer.from(encodePublication([changeOf(4, 2)])))
  await until('it was told', () => first.text().includes('event: changed'))
  t.match(first.text(), /id: 4-1004\nevent: changed\ndata: .*"changes":2,"deleted":true/)
  const late = world.join()
  await until('it is live', () => late.text().includes('event: live'))
  t.notMatch(late.text(), /text 2/)
  t.strictSame(late.seqs().slice(0, 4), [1, 2, 3, 4])
  // The publication of the message itself, which was long on its way.
  world.room.receive(publication(messages(2, 2)))
  await world.room.sync.run()
  const later = world.join()
  await until('it is live', () => later.text().includes('event: live'))
  t.notMatch(first.text().split('event: changed')[1] ?? '', /text 2/)
  t.notMatch(late.text() + later.text(), /text 2/)
})

t.test('a publication that waits for a gap loses its text to the deletion after it', async t => {
  for (const isLate of [false, true]) {
    const world = await worldOf(t, 1)
    const reader = world.join()
    await until('it is live', () => reader.text().includes('event: live'))
    world.store = [message(1), message(2), deletedOf(3), changeOf(4, 3)]
    const itself = publication(messages(3, 3))
    const change = Buffer.from(encodePublication([changeOf(4, 3)]))
    for (const payload of isLate ? [change, itself] : [itself, change]) world.room.receive(payload)
    await until('it was told', () => reader.text().includes('event: changed'))
    t.notMatch(reader.text(), /text 3/)
    t.match(reader.text(), /event: deleted/)
    t.match(reader.text(), /text 2/)
  }
})

t.test('a page that was being read when a message was deleted is read again', async t => {
  const world = await worldOf(t, 0)
  world.store = messages(1, 3)
  await world.room.sync.run()
  // It has left the ring, so the next reader needs the store.
  world.room.receive(Buffer.from(encodePublication([changeOf(4, 1)])))
  world.store = [deletedOf(1), ...messages(2, 3), changeOf(4, 1)]
  let isFirst = true
  world.before = async () => {
    if (!isFirst) return
    isFirst = false
    world.store = [deletedOf(1), deletedOf(2), message(3), changeOf(4, 1), changeOf(5, 2)]
    world.room.receive(Buffer.from(encodePublication([changeOf(5, 2)])))
  }
  const reader = world.join()
  await until('it is live', () => reader.text().includes('event: live'))
  t.notMatch(reader.text(), /text 2/)
  t.match(reader.text(), /text 3/)
})

t.test('a change whose publication was lost is found in the log and takes effect', async t => {
  const world = await worldOf(t, 0)
  world.store = messages(1, 3)
  await world.room.sync.run()
  world.store = [message(1), deletedOf(2), message(3), changeOf(4, 2)]
  await world.room.sync.run()
  const reader = world.join()
  await until('it is live', () => reader.text().includes('event: live'))
  t.notMatch(reader.text(), /text 2/)
  t.match(reader.text(), /"changes":2/)
})

t.test('a deletion also removes what a message was changed to, even if it is late', async t => {
  const change = (seq: number, text?: string): Buffer =>
    Buffer.from(encodePublication([changeOf(seq, 2, text)]))
  // In the ring, held back by a gap, and after the deletion.
  for (const order of [
    [2, 3, 4],
    [3, 4, 2],
    [4, 3, 2]
  ]) {
    const world = await worldOf(t, 1)
    const first = world.join()
    await until('it is live', () => first.text().includes('event: live'))
    const payloads = new Map([
      [2, publication(messages(2, 2))],
      [3, change(3, 'new text')],
      [4, change(4)]
    ])
    world.store = [message(1), deletedOf(2), changeOf(3, 2), changeOf(4, 2)]
    for (const seq of order) world.room.receive(payloads.get(seq) ?? Buffer.alloc(0))
    await until('it was told', () => first.text().includes('id: 4-'))
    const late = world.join()
    await until('it is live', () => late.text().includes('event: live'))
    t.notMatch(late.text(), /new text|text 2/)
    t.strictSame(late.seqs().slice(0, 4), [1, 2, 3, 4])
    if (order[0] !== 2) {
      t.notMatch(first.text(), /new text|text 2/, 'nor does a reader that was already live')
    }
  }
})

t.test(
  'readers of an unreadable room are told once, miss nothing, and are live again when it can be read',
  async t => {
    let aheadMs = 0
    const begun = Math.ceil(performance.now()) // whole numbers: sums are exact
    t.intercept(performance, 'now', { value: () => begun + aheadMs })
    const world = await worldOf(t, 2)
    const { room, told } = world
    const reader = world.join()
    await until('it is live', () => reader.text().includes('event: live'))
    const behinds = (text: string): number => text.split('event: behind\n').length - 1
    const failedOnceMore = async (): Promise<void> => {
      const before = told.length
      await until('the store was asked in vain', () => told.length > before)
    }

    const { before } = world
    world.before = async () => {
      throw new Error('out of reach')
    }
    void room.sync.run()
    await failedOnceMore()
    aheadMs = BEHIND_MS_MIN - 1
    await failedOnceMore()
    await failedOnceMore()
    t.equal(behinds(reader.text()), 0, 'a failover takes no longer')
    aheadMs = BEHIND_MS_MIN
    await until('it is told', () => behinds(reader.text()) > 0)
    t.ok(reader.text().endsWith('\n\nevent: behind\ndata: {"room":"r","head":2}\n\n'))
    await failedOnceMore()
    t.equal(behinds(reader.text()), 1)
    const late = world.join()
    await until('a new reader is told as well', () => behinds(late.text()) === 1)
    t.notMatch(late.text(), 'event: live')

    room.receive(publication(messages(3, 3)))
    world.store = messages(1, 4)
    world.before = before
    for (const { text } of [reader, late]) {
      await until('it is live again', () =>
        /"seq":4[^]*event: live\ndata: {"room":"r","head":4}\n\n$/.test(text())
      )
    }
    t.same(reader.seqs(), [1, 2, 3, 4])
    t.same(late.seqs(), [1, 2, 3, 4])
    room.receive(publication(messages(5, 5)))
    await until('the next one comes', () => reader.seqs().includes(5) && late.seqs().includes(5))

    world.before = async () => {
      throw new Error('out of reach again')
    }
    void room.sync.run()
    await failedOnceMore()
    t.equal(behinds(reader.text()), 1, 'the waiting time starts again')
  }
)
