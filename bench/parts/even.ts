// One user writes very much to one room: how evenly do messages and bytes spread over the shards,
// in total and in each second? The shard of each message is read from the log's references
// afterwards, so that the measurement does not disturb the load.
import { DEFAULT_USER } from '../../src/cli/crowd.js'
import { readConfig } from '../../src/config.js'
import { blockKey, logKey, segmentKey } from '../../src/store/keys.js'
import { parseReference } from '../../src/message/message.js'
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoadMethods } from '../programs/http-load.js'
import { sumOfValues, type RedisNodes } from '../redis-nodes.js'
import { atMost, median, row } from '../table.js'

const CONNECTIONS = 64
const TEXT_BYTES = 100
const SECOND_MS = 1000
/** A short run may be over within a second. */
const SHORT_MS = 20
const SEGMENT_LENGTH = readConfig({}).store.segmentLength

/** When a message was written, and on which node. */
type Written = { readonly node: string; readonly ms: number }

export const even: Part = {
  name: 'even',
  about: 'how one busy user spreads over the shards; --full for a million messages',
  rounds: 1,
  seconds: 0,
  run: async bench => {
    const count = bench.scale.isFull ? 1_000_000 : bench.size(200_000, 3000)
    const dialogs = await bench.dialogs()
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))
    const room = newRoom()
    bench.say(`${DEFAULT_USER} writes ${count} messages`)
    const bytesBefore = await dialogs.redis.dataBytes()
    const { answered, seconds } = await load.call('run', {
      url: dialogs.url,
      connections: CONNECTIONS,
      posts: { room, textBytes: TEXT_BYTES },
      amount: count
    })
    const bytesAfter = await dialogs.redis.dataBytes()
    const written = await writtenIn(dialogs.redis, room)
    if (written.length < answered) {
      throw new Error(`${answered} messages were answered, the log has ${written.length}`)
    }

    const { masters } = dialogs.redis
    const perSecond = windowsOf(written, bench.size(SECOND_MS, SHORT_MS)).map(written =>
      mostOverMean(masters, countByNode(written))
    )
    return {
      tables: [
        {
          title: `${written.length} messages of one user in one room, ${Math.round(answered / seconds)} a second, ${masters.length} shards`,
          rows: [
            row(
              'messages of the shard with most, over the mean',
              '×',
              [mostOverMean(masters, countByNode(written))],
              atMost(1.05)
            ),
            row(
              'bytes of Redis memory that were added to the shard with most, over the mean',
              '×',
              [
                mostOverMean(
                  masters,
                  new Map(
                    masters.map(node => [
                      node,
                      (bytesAfter.get(node) ?? 0) - (bytesBefore.get(node) ?? 0)
                    ])
                  )
                )
              ],
              atMost(1.05)
            ),
            row(
              'messages of the shard with most in a second, over the mean: the worst second',
              '×',
              perSecond.length === 0 ? [] : [Math.max(...perSecond)],
              atMost(1.5)
            ),
            row(
              'the same, the second in the middle',
              '×',
              perSecond.length === 0 ? [] : [median(perSecond)]
            )
          ],
          notes: [
            `Over ${perSecond.length} whole seconds. The room's log is one key at a time: its tail is on one shard, and sealed pieces of it are spread.`
          ]
        }
      ]
    }
  }
}

/**
 * The shard and the time of each message of a room, in order. Entries that are being sealed are
 * found twice, and count once.
 */
async function writtenIn(redis: RedisNodes, room: string): Promise<Written[]> {
  const written: Written[] = []
  const take = async (key: string): Promise<number> => {
    // XRANGE returns `[['0-<seq>', ['r', reference]], …]`.
    const entries = (await redis.command(key, ['XRANGE', key, '-', '+'])) as ReadonlyArray<
      readonly [string, readonly [string, string]]
    >
    for (const [id, [, reference]] of entries) {
      const { tag, ms } = parseReference(reference)
      written[Number(id.slice(2)) - 1] = { node: redis.ownerOf(blockKey(room, tag)), ms }
    }
    return entries.length
  }
  for (let segment = 0; (await take(segmentKey(room, segment))) === SEGMENT_LENGTH; segment++);
  await take(logKey(room))
  return written
}

// Leaves out the first and the last second, which are incomplete.
function windowsOf(written: readonly Written[], lengthMs: number): Written[][] {
  const windows = new Map<number, Written[]>()
  for (const message of written) {
    const window = Math.floor(message.ms / lengthMs)
    const known = windows.get(window)
    if (known === undefined) windows.set(window, [message])
    else known.push(message)
  }
  return [...windows]
    .sort(([a], [b]) => a - b)
    .slice(1, -1)
    .map(([, written]) => written)
}

function countByNode(written: readonly Written[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { node } of written) counts.set(node, (counts.get(node) ?? 0) + 1)
  return counts
}

const mostOverMean = (masters: readonly string[], values: ReadonlyMap<string, number>): number =>
  Math.max(...values.values()) / (sumOfValues(values) / masters.length)
