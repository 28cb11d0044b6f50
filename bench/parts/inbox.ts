// A person's dialogs: the list of people with very many dialogs while others write, and one stream
// for each of thousands of people who write to each other. The cost of the lists for the store is
// the number of commands of a run with lists, minus that of a run without.
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { InboxMethods, Membership, Times } from '../programs/inbox.js'
import { callsOf, spentBetween } from '../redis-nodes.js'
import { atMost, row, type Table } from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'
import { between, settledMemoryBytes } from '../usage.js'

const LISTS_PER_SECOND = 100
const WRITES_PER_SECOND = 1000
const KILOBYTE = 1024

export const inbox: Part = {
  name: 'inbox',
  about: "a person's list of dialogs, and one stream per person",
  rounds: 3,
  seconds: 10,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const program = await bench.keep(new Program<InboxMethods>('inbox'))
    return { tables: [await lists(bench, dialogs, program), await people(bench, dialogs, program)] }
  }
}

async function lists(
  bench: Bench,
  dialogs: Dialogs,
  program: Program<InboxMethods>
): Promise<Table> {
  const each = bench.size(1000, 20)
  const readers = bench.size(20, 2)
  const room = newRoom()
  const rooms = Array.from({ length: 2 * each }, (_, index) => `${room}-${index}`)
  const users = Array.from({ length: readers }, (_, index) => `${room}-reader-${index}`)
  bench.say(`making ${readers} people with ${each} dialogs each`)
  // Each is in half of the rooms, and each in a different half.
  const memberships = users.flatMap((user, index) =>
    Array.from({ length: each }, (_, n): Membership => {
      return [rooms[(n + index * Math.floor(each / readers)) % rooms.length] ?? '', user]
    })
  )
  await program.call('join', { url: dialogs.url, memberships })
  const load = {
    url: dialogs.url,
    users,
    writes: rooms.map((room, index): Membership => [room, `${room}-writer-${index % 50}`]),
    writesPerSecond: bench.size(WRITES_PER_SECOND, 50),
    seconds: bench.scale.seconds
  }
  const listsPerSecond = bench.size(LISTS_PER_SECOND, 10)
  const spent = async (perSecond: number): Promise<{ times: Times; calls: number }> => {
    const before = await dialogs.redis.counters()
    const times = await program.call('lists', { ...load, listsPerSecond: perSecond })
    return { times, calls: callsOf(spentBetween(before, await dialogs.redis.counters()).masters) }
  }
  await program.call('lists', { ...load, listsPerSecond: 1, seconds: 1 })
  const measured = await bench.interleave([
    { name: 'with', measure: () => spent(listsPerSecond) },
    { name: 'without', measure: () => spent(0) }
  ])
  const withLists = measured.get('with') ?? []
  const without = measured.get('without') ?? []
  const failed = withLists.reduce((sum, { times }) => sum + times.failed, 0)
  return {
    title: `${listsPerSecond} lists a second of people with ${each} dialogs, ${load.writesPerSecond} messages a second`,
    rows: [
      row(
        'a list, p50',
        'ms',
        withLists.map(({ times }) => times.p50Ms)
      ),
      row(
        'a list, p99',
        'ms',
        withLists.map(({ times }) => times.p99Ms),
        atMost(50)
      ),
      row(
        'commands on the masters for a list of 50',
        '',
        withLists.map(({ times, calls }, round) =>
          Math.max(0, (calls - (without[round]?.calls ?? 0)) / times.count)
        )
      )
    ],
    notes: [
      `Of ${readers} people in turn; ${failed} requests failed. Commands are those of a run with lists less those of one without, commands inside scripts counted.`
    ]
  }
}

async function people(
  bench: Bench,
  dialogs: Dialogs,
  program: Program<InboxMethods>
): Promise<Table> {
  const count = bench.size(5000, 20)
  const each = bench.size(20, 4)
  const prefix = newRoom()
  const user = (index: number): string => `${prefix}-${index % count}`
  // In a ring: each has a dialog with the ten people before and the ten after.
  const pairs = Array.from({ length: (count * each) / 2 }, (_, index) => {
    const [from, step] = [index % count, 1 + Math.floor(index / count)]
    return [`${prefix}-${from}-${step}`, user(from), user(from + step)] as const
  })
  bench.say(`making ${count} people with ${each} dialogs each`)
  await program.call('join', {
    url: dialogs.url,
    memberships: pairs.flatMap(([room, one, other]): Membership[] => [
      [room, one],
      [room, other]
    ])
  })
  await dialogs.restart()
  const before = await settledMemoryBytes(dialogs.pid)
  bench.say(`opening ${count} streams`)
  const users = Array.from({ length: count }, (_, index) => user(index))
  const { liveMs } = await program.call('open', { url: dialogs.url, users })
  const bytes = between(before, await settledMemoryBytes(dialogs.pid))
  const writesPerSecond = bench.size(WRITES_PER_SECOND, 50)
  const measure = (seconds: number): Promise<Times> =>
    program.call('pairs', { url: dialogs.url, pairs, writesPerSecond, seconds })
  await measure(bench.size(2, 0.2))
  const measured = await bench.interleave([
    { name: 'pairs', measure: () => measure(bench.scale.seconds) }
  ])
  await program.call('close', null)
  const times = measured.get('pairs') ?? []
  const sum = (figure: 'count' | 'failed' | 'superseded'): number =>
    times.reduce((sum, times) => sum + times[figure], 0)
  return {
    title: `${count} people with a stream and ${each} dialogs each, ${writesPerSecond} messages a second`,
    rows: [
      row(
        'POST sent to event at the recipient, p50',
        'ms',
        times.map(({ p50Ms }) => p50Ms)
      ),
      row(
        'POST sent to event at the recipient, p99',
        'ms',
        times.map(({ p99Ms }) => p99Ms),
        atMost(30)
      ),
      row(
        "memory of the service's process for a person, with their dialogs",
        'KB',
        bytes === undefined ? [] : [bytes / count / KILOBYTE]
      ),
      row('all streams live after', 's', [liveMs / 1000])
    ],
    notes: [
      `${sum('count')} events received, ${sum('superseded')} already announced a later message, ${sum('failed')} POSTs failed.`
    ]
  }
}
