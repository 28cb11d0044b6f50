// A person's stream without Redis: what fast and slow clients are told about dialogs, and when the
// store must be asked.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { LoopSlices } from '../../src/loop-slices.js'
import { LoopTurns } from '../../src/loop-turns.js'
import { Person } from '../../src/live/person.js'
import { RoomWatch, type Follower } from '../../src/live/room-watch.js'
import { framesOf } from '../../src/message/frame.js'
import { type Dialog } from '../../src/store/inbox.js'
import { sequence } from '../support/client.js'
import { clockOf } from '../support/clock.js'
import { until } from '../support/until.js'

type Told = { readonly event: string; readonly data: Record<string, unknown>; readonly id: number }

/** The rooms of one process, and what the store has of a person in them. */
class World {
  readonly watches = new Map<string, RoomWatch>()
  readonly #heads = new Map<string, number>()
  readonly authors = new Map<string, string[]>()
  readonly listed = new Map<string, { ms: number; seq: number }>()
  /** Memberships that this process trusts although the store may have ended them. */
  readonly trusted = new Map<string, Dialog>()
  asked = 0
  looked = 0
  readonly failures: unknown[] = []
  /** Resolves when the rooms have read their heads. */
  ready: Promise<void> = Promise.resolve()
  /** Called when the list or a dialog is read. */
  onRead: () => Promise<void> = async () => undefined
  readonly person: Person

  constructor() {
    this.person = new Person(
      'bob',
      {
        newest: async () => {
          this.looked++
          const rows = [...this.listed].map(([room, { ms, seq }]) => {
            return { room, ms, mark: { seq, ms: 0 } }
          })
          await this.onRead()
          return rows
        },
        has: async (_user, room) => this.listed.has(room),
        states: async (_user, [room = ''], isCertain) => {
          this.asked++
          const known = isCertain === true ? undefined : this.trusted.get(room)
          const state = known ?? this.stateOf(room)
          await this.onRead()
          return new Map(state === undefined ? [] : [[room, state]])
        }
      },
      {
        watch: (room, follower) => {
          const watch = this.watchOf(room)
          watch.add(follower)
          return watch
        },
        unwatch: (room, follower) => {
          this.watchOf(room).remove(follower)
        }
      },
      { failed: (_what, error) => this.failures.push(error) },
      { turns: new LoopTurns(), slices: new LoopSlices() }
    )
  }

  watchOf(room: string): RoomWatch {
    const heads = this.#heads
    const known = this.watches.get(room)
    if (known !== undefined) return known
    heads.set(room, this.authors.get(room)?.length ?? 0)
    const watch = new RoomWatch({
      room,
      get head() {
        return heads.get(room) ?? 0
      },
      headMs: 0,
      isBehind: false,
      ready: async () => {
        await this.ready
      }
    })
    this.watches.set(room, watch)
    return watch
  }

  stateOf(room: string): Dialog | undefined {
    const listed = this.listed.get(room)
    if (listed === undefined) return undefined
    const authors = this.authors.get(room) ?? []
    const unread = authors.slice(listed.seq).filter(author => author !== 'bob').length
    return {
      room,
      head: authors.length,
      read: listed.seq,
      unread: Math.min(100, unread),
      last: authors.length === 0 ? 'null' : `{"seq":${authors.length}}`
    }
  }

  /** Messages that a room already has when it is opened: no publication announces them. */
  begin(room: string, ...authors: string[]): void {
    this.authors.set(room, authors)
    this.#heads.set(room, authors.length)
  }

  /** Stores messages, and delivers them to this process. */
  post(room: string, ...authors: string[]): void {
    const before = this.authors.get(room) ?? []
    this.authors.set(room, [...before, ...authors])
    this.#heads.set(room, before.length + authors.length)
    this.watchOf(room).delivered(
      framesOf(
        authors.map((user, index) => {
          return { room, seq: before.length + index + 1, user, text: 'x', ms: 1 }
        })
      )
    )
  }

  stream(after?: number): {
    told: Told[]
    /** How many characters each write had. */
    written: number[]
    full: (isFull: boolean) => void
    leave: () => void
  } {
    const told: Told[] = []
    const written: number[] = []
    let isFull = false
    let release: Array<() => void> = []
    const leave = this.person.join(
      {
        get isFull() {
          return isFull
        },
        hasEnded: false,
        write: bytes => {
          written.push(bytes.length)
          for (const text of String(bytes).split(/(?<=\n\n)/)) {
            const [, id, event = '', data = ''] =
              /^id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n$/.exec(text) ?? []
            told.push({ id: Number(id), event, data: JSON.parse(data) as Told['data'] })
          }
        },
        drained: async () => {
          await new Promise<void>(resolve => release.push(resolve))
        }
      },
      after
    )
    const full = (now: boolean): void => {
      isFull = now
      if (now) return
      for (const resolve of release) resolve()
      release = []
    }
    return { told, written, full, leave }
  }
}

const isLive = (told: readonly Told[]): boolean => told.some(({ event }) => event === 'live')

t.test('dialogs come first, then `live`, then news, counted without the store', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 1 })
  world.authors.set('red', ['ann', 'ann', 'bob'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  t.match(told, [
    { event: 'room', data: { room: 'red', head: 3, read: 1, unread: 1, last: { seq: 3 } } },
    { event: 'live', data: { user: 'bob', rooms: ['red'], complete: true } }
  ])
  const { asked } = world
  world.post('red', 'ann', 'bob', 'cyd')
  await until('it is told', () => told.length === 3)
  t.match(told[2], {
    event: 'room',
    data: { head: 6, read: 1, unread: 3, last: { user: 'cyd' } }
  })
  t.equal(world.asked, asked)
})

t.test('a cursor from the future does not hide what has changed', async t => {
  for (const [aheadMs, rooms] of [
    [0, []],
    [50_000, []],
    [70_000, ['red']],
    [3_600_000, ['red']]
  ] as const) {
    const world = new World()
    world.listed.set('red', { ms: 1, seq: 0 })
    // The first stream has read the dialog, so a second one is told only of changes.
    const first = world.stream()
    await until('the dialog is known', () => isLive(first.told))
    const { told } = world.stream(Date.now() + aheadMs)
    await until('it is live', () => isLive(told))
    t.strictSame(
      told.flatMap(({ event, data }) => (event === 'room' ? [data['room']] : [])),
      rooms,
      `${aheadMs} ms ahead`
    )
  }
})

t.test('a long list is written in pieces of bounded size, and `live` follows', async t => {
  const world = new World()
  const rooms = sequence(1, 1000).map(n => `room ${n}`)
  for (const room of rooms) world.listed.set(room, { ms: 1, seq: 0 })
  const streams = sequence(1, 20).map(() => world.stream())
  for (const { told, written } of streams) {
    await until('it is live', () => isLive(told))
    t.equal(told.at(-1)?.event, 'live')
    t.strictSame(new Set(told.slice(0, -1).map(({ data }) => data['room'])), new Set(rooms))
    t.ok(written.length < 30, `${written.length} writes`)
    t.ok(Math.max(...written) < 20_000, `${Math.max(...written)} characters at once`)
  }
})

t.test('a slow client gets `live` after all of its dialogs, too', async t => {
  const world = new World()
  for (const n of sequence(1, 1000)) world.listed.set(`room ${n}`, { ms: 1, seq: 0 })
  const { told, full } = world.stream()
  // Turn by turn: by the next look of `until` all may have been told.
  while (told.length === 0) await turn()
  full(true)
  const before = told.length
  t.ok(before < 1000)
  for (let turns = 0; turns < 20; turns++) await turn()
  t.equal(told.length, before)
  full(false)
  await until('it is live', () => isLive(told))
  t.equal(new Set(told.map(({ data }) => data['room'])).size, 1001)
  t.equal(told.at(-1)?.event, 'live')
})

t.test('many messages at once make two events, and the last one is right', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  for (const n of sequence(1, 150)) {
    world.post('red', n % 3 === 0 ? 'bob' : 'ann')
    await turn()
  }
  await until('the last one is sent', () => told.at(-1)?.data['head'] === 150)
  t.equal(told.at(-1)?.data['unread'], 100)
  t.ok(told.filter(({ event }) => event === 'room').length <= 3, `${told.length} events`)
})

t.test(
  'a slow client gets the latest state of each dialog, and a cursor that skips none',
  async t => {
    const world = new World()
    for (const room of ['red', 'green']) world.listed.set(room, { ms: 1, seq: 0 })
    const { told, full } = world.stream()
    await until('it is live', () => isLive(told))
    const before = told.length
    full(true)
    for (const n of sequence(1, 3)) {
      world.post('red', 'ann')
      world.post('green', 'ann')
      if (n < 3) await new Promise(resolve => setTimeout(resolve, 300))
    }
    await new Promise(resolve => setTimeout(resolve, 300))
    t.equal(told.length, before, 'nothing is written meanwhile')
    const releasedAt = Date.now()
    full(false)
    await until('both are told', () => told.length === before + 2)
    t.match(told.slice(before), [
      { data: { room: 'red', head: 3, unread: 3 } },
      { data: { room: 'green', head: 3, unread: 3 } }
    ])
    t.ok(
      (told[before]?.id ?? 0) < releasedAt - 300,
      'a client that resumes at the id of red still gets the news of green'
    )
  }
)

t.test('the stream tells of read marks, and of rooms that the person joins or leaves', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann', 'ann', 'ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  world.listed.set('red', { ms: 1, seq: 2 })
  world.person.hear({ read: 'red', seq: 2 })
  await until('the mark', () => told.at(-1)?.data['read'] === 2)
  t.match(told.at(-1), { data: { unread: 1 } })
  world.listed.set('green', { ms: 1, seq: 0 })
  world.person.hear({ joined: 'green' })
  await until('joined', () => told.at(-1)?.data['room'] === 'green')
  world.listed.delete('red')
  world.person.hear({ left: 'red' })
  await until('left', () => told.at(-1)?.event === 'left')
  t.match(told.at(-1), { event: 'left', data: { room: 'red' } })
  const count = told.length
  world.post('red', 'ann')
  world.post('green', 'ann')
  await until('the other room', () => told.length > count)
  t.match(told.at(-1), { data: { room: 'green', head: 1 } })
  t.equal(told.length, count + 1)
})

t.test('a new mark is never sent with the unread number of the old one', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann', 'ann', 'ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  let answer = (): void => undefined
  world.onRead = async () => {
    await new Promise<void>(resolve => {
      answer = resolve
    })
  }
  world.listed.set('red', { ms: 1, seq: 3 })
  world.person.hear({ read: 'red', seq: 3 })
  const count = told.length
  world.post('red', 'ann')
  await until('the message', () => told.length > count)
  t.match(told.at(-1), { data: { head: 4, read: 0, unread: 4 } })
  world.onRead = async () => undefined
  answer()
  await until('the mark', () => told.at(-1)?.data['read'] === 3)
  t.match(told.at(-1), { data: { head: 4, unread: 1 } })
})

t.test('a mark that was lost with its master is not waited for without end', async t => {
  const advance = clockOf(t)
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 1 })
  world.authors.set('red', ['ann', 'ann', 'ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  const { asked } = world
  const count = told.length
  world.person.hear({ read: 'red', seq: 2 })
  await until('the store is asked twice', () => world.asked >= asked + 2)
  t.equal(told.length, count, 'nothing is sent yet')
  advance(10_000)
  await until('the store is believed', () => told.length > count)
  t.match(told.at(-1), { data: { head: 3, read: 1, unread: 2 } })
})

t.test('what a lost publication would have announced is found in the list', async t => {
  const world = new World()
  for (const room of ['red', 'green']) world.listed.set(room, { ms: 1, seq: 0 })
  world.authors.set('green', ['ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  world.listed.delete('red')
  world.listed.set('blue', { ms: 1, seq: 0 })
  world.listed.set('green', { ms: 1, seq: 1 })
  const before = told.length
  await world.person.sync()
  await until('all three', () => told.length === before + 3)
  t.match(
    new Map(told.slice(before).map(told => [told.data['room'], told])),
    new Map<unknown, unknown>([
      ['red', { event: 'left' }],
      ['blue', { event: 'room', data: { head: 0 } }],
      ['green', { event: 'room', data: { read: 1, unread: 0 } }]
    ])
  )
})

t.test('a list that was read before the latest news does not undo it', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  let isFirst = true
  world.onRead = async () => {
    if (!isFirst) return
    isFirst = false
    // Joined after the list was read, and before its answer arrived.
    world.listed.set('green', { ms: 1, seq: 0 })
    world.person.hear({ joined: 'green' })
  }
  await world.person.sync()
  await until('joined', () => told.at(-1)?.data['room'] === 'green')
  t.notOk(told.some(({ event }) => event === 'left'))
})

t.test('the store is asked after a reset, and when an entry is not a message', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann', 'ann', 'ann', 'ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  world.authors.set('red', ['cyd', 'cyd', 'cyd', 'cyd', 'cyd'])
  world.watchOf('red').reset()
  await until('it is sent again', () => told.at(-1)?.data['head'] === 5)
  t.equal(told.at(-1)?.data['unread'], 5)
})

t.test('a deleted room is left, even if the removal of its members was not heard', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann'])
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  const before = world.stateOf('red')
  if (before !== undefined) world.trusted.set('red', before)
  world.listed.delete('red')
  world.watchOf('red').reset()
  await until('it has left', () => told.at(-1)?.event === 'left')
  t.strictSame(told.at(-1)?.data, { room: 'red' })
})

t.test('a store that does not answer is asked again, and then the right state is sent', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann'])
  let failures = 3
  world.onRead = async () => {
    if (failures-- > 0) throw new Error('unreachable')
  }
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  t.match(told[0], { event: 'room', data: { head: 1, unread: 1 } })
  t.equal(world.failures.length, 3)
})

t.test('a client that resumes is not sent what it already has', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann'])
  const { told, leave } = world.stream(Date.now())
  await until('it is live', () => isLive(told))
  t.equal(told.length, 1)
  t.equal(world.asked, 0)
  world.post('red', 'ann')
  await until('what is new', () => told.length === 2)
  t.match(told[1], { data: { head: 2, unread: 2 } })
  leave()
  world.person.close()
  t.equal(world.watchOf('red').followerCount, 0)
})

t.test(
  'streams are told once that dialogs may be out of date, and once that all are right',
  async t => {
    const world = new World()
    for (const room of ['red', 'blue']) world.listed.set(room, { ms: 1, seq: 0 })
    const { told } = world.stream()
    await until('it is live', () => isLive(told))
    const kinds = (): string[] => told.slice(3).map(({ event }) => event)
    const begunAt = Date.now()
    let recover = (): void => undefined
    world.ready = new Promise(resolve => {
      recover = resolve
    })
    for (const room of ['red', 'blue']) world.watchOf(room).fellBehind()
    world.person.lost()
    t.strictSame(kinds(), ['behind'])
    const late = world.stream()
    t.strictSame(
      late.told.map(({ event }) => event),
      ['behind'],
      'a stream that joins is told as well'
    )
    await world.person.sync()
    await turn()
    t.strictSame(kinds(), ['behind'], 'the rooms are not right yet')
    // A client that resumes at an event from this time gets what was missed.
    world.post('red', 'ann')
    await until('what comes meanwhile is told', () => kinds().includes('room'))
    const meanwhile = told.at(-1)
    t.ok((meanwhile?.id ?? Infinity) <= Date.now() && (meanwhile?.id ?? 0) >= begunAt)
    t.equal(meanwhile?.id, told[3]?.id, 'its id does not pass the time of the outage')
    world.begin('blue', 'ann')
    recover()
    await until('it is live again', () => kinds().at(-1) === 'live')
    t.match(
      told.slice(3).find(({ data }) => data['room'] === 'blue'),
      { event: 'room', data: { head: 1, unread: 1 } },
      'what was missed is told before that'
    )
    t.equal(kinds().filter(kind => kind === 'live').length, 1)
    await until('the late one is live', () => isLive(late.told))
  }
)

t.test('a room that falls behind again is not taken for right', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  const recoveries: Array<() => void> = []
  for (let n = 1; n <= 2; n++) {
    world.ready = new Promise(resolve => recoveries.push(resolve))
    world.watchOf('red').fellBehind()
  }
  const lives = (): number => told.filter(({ event }) => event === 'live').length
  recoveries[0]?.()
  for (let n = 0; n < 10; n++) await turn()
  t.equal(lives(), 1)
  recoveries[1]?.()
  await until('it is live again', () => lives() === 2)
  t.equal(told.filter(({ event }) => event === 'behind').length, 1)
})

t.test('a dialog that is left no longer counts as out of date', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  world.ready = new Promise(() => {})
  world.watchOf('red').fellBehind()
  world.listed.delete('red')
  world.person.removed('red')
  await until('it is live again', () => told.filter(({ event }) => event === 'live').length === 2)
  t.strictSame(told.at(-1)?.data['rooms'], [])
})

t.test('thousands of followers are served over several turns', async t => {
  const world = new World()
  const watch = world.watchOf('red')
  let told = 0
  let turns = 0
  const followers: Follower[] = sequence(1, 2000).map(n => {
    const moved = (): void => {
      told++
    }
    return { user: `user ${n}`, moved, fellBehind: () => {} }
  })
  for (const follower of followers) watch.add(follower)
  world.post('red', 'ann')
  while (told < followers.length) {
    turns++
    await turn()
  }
  t.equal(told, 2000)
  t.ok(turns >= 7)
})

t.test('what a room has when it opens is sent, even if the store had less before', async t => {
  const world = new World()
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  let begin = (): void => undefined
  world.ready = new Promise(resolve => {
    begin = resolve
  })
  world.listed.set('red', { ms: 1, seq: 0 })
  world.authors.set('red', ['ann'])
  world.person.hear({ joined: 'red' })
  await until('the answer of the store', () => told.at(-1)?.data['head'] === 1)
  world.begin('red', 'ann', 'ann')
  begin()
  await until('the head of the room', () => told.at(-1)?.data['head'] === 2)
  t.match(told.at(-1), { event: 'room', data: { room: 'red', unread: 2 } })
})

t.test('news of a removal that arrives after the return does not hide the room', async t => {
  const world = new World()
  world.listed.set('red', { ms: 1, seq: 0 })
  const { told } = world.stream()
  await until('it is live', () => isLive(told))
  world.person.hear({ joined: 'red' })
  world.person.hear({ left: 'red' })
  await until('it is sent again', () => told.at(-1)?.event === 'room' && told.length > 2)
  for (let turns = 0; turns < 5; turns++) await turn()
  t.match(told.at(-1), { event: 'room', data: { room: 'red' } })
})
