// Everyone reconnects at once: the service restarts, and thousands of readers of one room resume a
// hundred messages behind. Measures the time until all of them are live with everything they
// missed, and the reads of the store that this takes.
import { Load } from '../../src/cli/load.js'
import { crowd } from '../../src/cli/crowd.js'
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { Program } from '../program.js'
import type { ReadersMethods } from '../programs/readers.js'
import { callsOf, spentBetween } from '../redis-nodes.js'
import { atMost, row } from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'

type Storm = { readonly liveSeconds: number; readonly reads: number; readonly readCommands: number }

const BEHIND = 100
const MESSAGES = 1000
const USERS = 20
const TEXT_BYTES = 100
const LIVE_MS_MAX = 120_000
const READ_COMMANDS = ['xrange', 'xrevrange']

export const storm: Part = {
  name: 'storm',
  about: 'thousands of readers resume at once after a restart',
  rounds: 5,
  seconds: 0,
  run: async bench => {
    const readerCount = bench.size(5000, 50)
    const dialogs = await bench.dialogs()
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))
    const room = newRoom()
    await new Load({
      url: dialogs.url,
      compose: crowd({
        room,
        rooms: undefined,
        user: undefined,
        users: USERS,
        zipf: 1,
        seed: 1,
        textBytes: TEXT_BYTES
      }),
      connections: 16,
      count: MESSAGES
    }).run()

    const storms = await bench.interleave<Storm>([
      { name: 'storm', measure: () => measure(dialogs, readers, room, readerCount) }
    ])
    const samples = (figure: keyof Storm): number[] =>
      (storms.get('storm') ?? []).map(storm => storm[figure])
    return {
      tables: [
        {
          title: `${readerCount} readers resume ${BEHIND} messages behind, after a restart of the service`,
          rows: [
            row('until all are live', 's', samples('liveSeconds'), atMost(3)),
            row('reads of the store', '', samples('reads'), atMost(10)),
            row(
              'commands that read, by Redis itself: one for each block and piece of the log',
              '',
              samples('readCommands')
            )
          ],
          notes: [
            `Time counts from the first connection. The messages are of up to ${USERS} users, so a page is read from as many blocks.`
          ]
        }
      ]
    }
  }
}

async function measure(
  dialogs: Dialogs,
  readers: Program<ReadersMethods>,
  room: string,
  count: number
): Promise<Storm> {
  const cursor = await cursorAt(dialogs.url, room)
  await dialogs.restart()
  const before = await dialogs.redis.counters()
  try {
    const stream = { ...dialogs.stream(room), path: `/rooms/${room}/events` }
    const { liveMs } = await readers.call('open', {
      url: dialogs.url,
      streams: [stream],
      count,
      frameBytesMin: TEXT_BYTES,
      lastEventId: cursor,
      deadlineMs: LIVE_MS_MAX
    })
    const { fewest, most } = await readers.call('count', null)
    if (fewest !== BEHIND || most !== BEHIND) {
      throw new Error(`Readers got ${fewest} to ${most} messages instead of ${BEHIND}`)
    }
    const { masters } = spentBetween(before, await dialogs.redis.counters())
    return {
      liveSeconds: liveMs / 1000,
      reads: await dialogs.metric('dialogs_store_reads_total'),
      readCommands: callsOf(masters, READ_COMMANDS)
    }
  } finally {
    await readers.call('close', null)
  }
}

/** The Last-Event-ID of a reader that lacks the newest messages. */
async function cursorAt(url: string, room: string): Promise<string> {
  const messages = `${url}/rooms/${room}/messages`
  // The casts follow the documented shapes of the answers.
  const { head } = (await (await fetch(`${messages}?limit=1`)).json()) as { head: number }
  const { seq, at } = (await (await fetch(`${messages}/${head - BEHIND}`)).json()) as {
    seq: number
    at: string
  }
  return `${seq}-${Date.parse(at)}`
}
