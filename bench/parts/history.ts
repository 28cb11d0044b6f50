// Reading history: the newest page of a very long room against that of a short one, and a whole
// room replayed to one reader, compared with plain XRANGE over the same blocks (the limit of the
// store). fill.ts fills the rooms.
import { fill, filledBlocks, newFilling, type Filling } from '../fill.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoadMethods } from '../programs/http-load.js'
import type { RawRedisMethods } from '../programs/raw-redis.js'
import type { ReadersMethods } from '../programs/readers.js'
import { atLeast, atMost, ratios, row } from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'
import { memoryBytes, settledMemoryBytes } from '../usage.js'

type Read = {
  /** ms per page, or messages per second. */
  readonly figure: number
  readonly memoryBefore?: number | undefined
  readonly memoryPeak?: number | undefined
  readonly memoryAfter?: number | undefined
}

const PAGE_LENGTH = 50
const PAGE_CONNECTIONS = 2
const FEW_USERS = 10
const TEXT_BYTES = 100
const REPLAY_MS_MAX = 120_000
const MEGABYTE = 1024 * 1024
const LOOK_MS = 50

export const history: Part = {
  name: 'history',
  about: 'pages of a long room against a short one, and a whole room replayed',
  rounds: 5,
  seconds: 3,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const users = bench.size(1000, 20)
    const messages = bench.size(1_000_000, 5000)
    const short = newFilling(users, users, TEXT_BYTES)
    const long = newFilling(messages, users, TEXT_BYTES)
    // The same with fewer blocks: the difference is the cost of looking up messages in very many
    // blocks.
    const fewUsers = newFilling(messages, FEW_USERS, TEXT_BYTES)
    for (const filling of [short, long, fewUsers]) {
      bench.say(`filling a room with ${filling.messages} messages by ${filling.users} users`)
      await bench.showing('messages', filling.messages, update =>
        fill(dialogs.redis, filling, update)
      )
    }
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))
    const raw = await bench.keep(new Program<RawRedisMethods>('raw-redis'))

    const read = await bench.interleave<Read>([
      { name: 'page of the short room', measure: () => readPages(bench, load, dialogs, short) },
      { name: 'page of the long room', measure: () => readPages(bench, load, dialogs, long) },
      { name: 'replay', measure: () => replay(readers, dialogs, long) },
      { name: 'replay of few users', measure: () => replay(readers, dialogs, fewUsers) },
      {
        name: 'plain XRANGE',
        measure: async () => {
          const { seconds } = await raw.call('xrange', {
            keys: filledBlocks(long).map(({ key }) => [dialogs.redis.ownerOf(key), key] as const)
          })
          return { figure: long.messages / seconds }
        }
      }
    ])
    const samples = (name: string, figure: keyof Read = 'figure'): number[] =>
      (read.get(name) ?? []).map(read => read[figure] ?? Number.NaN)
    const megabytes = (figure: keyof Read): number[] =>
      samples('replay', figure).map(bytes => bytes / MEGABYTE)
    return {
      tables: [
        {
          title: `the newest page of ${PAGE_LENGTH}`,
          rows: [
            row(
              `room of ${short.messages} messages by ${users} users`,
              'ms',
              samples('page of the short room')
            ),
            row(
              `room of ${long.messages} messages by ${users} users`,
              'ms',
              samples('page of the long room')
            ),
            row(
              'long over short',
              '×',
              ratios(samples('page of the long room'), samples('page of the short room')),
              atMost(1.5)
            )
          ],
          notes: [
            `${PAGE_CONNECTIONS} connections, each asks when it was answered; each of the ${PAGE_LENGTH} messages is of another user and so in another block.`
          ]
        },
        {
          title: `a room of ${long.messages} messages replayed to one reader`,
          rows: [
            row(`Dialogs, by ${users} users in turn`, '/s', samples('replay'), atLeast(150_000)),
            row(`Dialogs, by ${FEW_USERS} users in turn`, '/s', samples('replay of few users')),
            row(
              `plain XRANGE of the blocks of the ${users} users in pipelines, not put in order`,
              '/s',
              samples('plain XRANGE')
            ),
            row(
              'Dialogs over plain XRANGE',
              '×',
              ratios(samples('replay'), samples('plain XRANGE'))
            ),
            row("memory of the service's process before", 'MB', megabytes('memoryBefore')),
            row('at its most while it replays', 'MB', megabytes('memoryPeak')),
            row('after', 'MB', megabytes('memoryAfter'))
          ]
        }
      ]
    }
  }
}

async function readPages(
  bench: Bench,
  load: Program<HttpLoadMethods>,
  dialogs: Dialogs,
  { room }: Filling
): Promise<Read> {
  const { answered, failed, seconds } = await load.call('run', {
    url: dialogs.url,
    path: `/rooms/${room}/messages?limit=${PAGE_LENGTH}`,
    connections: PAGE_CONNECTIONS,
    seconds: bench.scale.seconds
  })
  if (failed > 0) throw new Error(`${failed} pages were not answered`)
  // Computed from the number of answers, because autocannon's own times are whole milliseconds.
  return { figure: (PAGE_CONNECTIONS * seconds * 1000) / answered }
}

async function replay(
  readers: Program<ReadersMethods>,
  dialogs: Dialogs,
  { room, messages }: Filling
): Promise<Read> {
  const memoryBefore = await settledMemoryBytes(dialogs.pid)
  let memoryPeak = memoryBefore
  const stream = { ...dialogs.stream(room), path: `/rooms/${room}/events` }
  const looking = setInterval(() => {
    memoryPeak = Math.max(memoryPeak ?? 0, memoryBytes(dialogs.pid) ?? 0)
  }, LOOK_MS)
  try {
    const { liveMs } = await readers.call('open', {
      url: dialogs.url,
      streams: [stream],
      count: 1,
      frameBytesMin: TEXT_BYTES,
      deadlineMs: REPLAY_MS_MAX
    })
    clearInterval(looking)
    const counted = await readers.call('count', null)
    if (counted.messages !== messages) {
      throw new Error(`The reader got ${counted.messages} of ${messages} messages`)
    }
    return {
      figure: (messages / liveMs) * 1000,
      memoryBefore,
      memoryPeak,
      memoryAfter: await settledMemoryBytes(dialogs.pid)
    }
  } finally {
    clearInterval(looking)
    await readers.call('close', null)
  }
}
