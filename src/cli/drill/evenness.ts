// The Lady Gaga effect: one user writes everything, over many rooms. Messages and bytes must lie evenly on the shards, and no key may
// grow with the number of messages.
import { connect } from '../../embedded/connection.js'
import { type EmbeddedNode } from '../../embedded/node.js'
import { parseKey } from '../../redis/keys.js'
import { count } from '../progress.js'
import { randomFrom } from '../zipf.js'
import { type Experiment, scaled } from './findings.js'
import { Ledger } from './ledger.js'
import { World } from './world.js'
import { Writers } from './writers.js'

const MESSAGES = 200_000
const ROOMS = 50
const BLOCK_LENGTH = 1000
const SEGMENT_LENGTH = 1024
const SHARE_MAX = 1.1
const CONNECTIONS = 64
/** What may be committed while the oldest segment is being sealed. */
const IN_FLIGHT_MAX = 512
const KEYS_AT_ONCE = 1000

type Shard = { readonly name: string, readonly messages: number, readonly bytes: number }

export const evenness: Experiment = {
  about: 'one user writes 200,000 messages in 50 rooms: shares of the shards, and the longest keys',
  // A smaller run has shorter blocks instead of fewer: with few blocks, luck would decide.
  hold: async ({ scale, seed, report }) => {
    const blockLength = scaled(BLOCK_LENGTH, scale)
    const segmentLength = scaled(SEGMENT_LENGTH, scale, 16)
    const world = await World.start({ env: { BLOCK_LENGTH: String(blockLength), SEGMENT_LENGTH: String(segmentLength) }, report })
    try {
      const ledger = new Ledger()
      const rooms = Array.from({ length: ROOMS }, (_, index) => `room-${index}`)
      const writers = new Writers({ urls: world.urls, ledger, random: randomFrom(seed), messagesMax: scaled(MESSAGES, scale), writers: Array.from({ length: CONNECTIONS }, () => ({ user: 'lady_gaga', rooms })) }).start()
      await writers.done()
      await writers.stop()
      world.did(`${count(ledger.acknowledged)} messages written, ${ledger.failed} failed`)
      const shards: Shard[] = []
      const longest = { block: 0, log: 0, segment: 0 }
      for (const { process } of await world.operator.masters()) shards.push(await weigh(process, longest))
      const limits = { block: blockLength, log: 2 * segmentLength + IN_FLIGHT_MAX, segment: segmentLength }
      return {
        figures: [
          ...shards.map(shard => `shard ${shard.name}: ${count(shard.messages)} messages (${share(shards, shard, 'messages').toFixed(3)} of the mean), ${count(shard.bytes)} bytes (${share(shards, shard, 'bytes').toFixed(3)})`),
          `longest block ${longest.block} of ${limits.block}, longest tail of a log ${longest.log} of ${limits.log}, longest segment ${longest.segment} of ${limits.segment}`
        ],
        violations: [
          ...shards.flatMap(shard => (['messages', 'bytes'] as const).filter(what => share(shards, shard, what) > SHARE_MAX).map(what => `shard ${shard.name} holds ${share(shards, shard, what).toFixed(3)} times the mean of ${what}`)),
          ...(['block', 'log', 'segment'] as const).filter(kind => longest[kind] > limits[kind]).map(kind => `a ${kind} has ${longest[kind]} entries, more than ${limits[kind]}`),
          ...ledger.failed > 0 ? [`${ledger.failed} POSTs failed`] : []
        ]
      }
    } finally {
      await world.stop()
    }
  }
}

const share = (shards: readonly Shard[], shard: Shard, what: 'messages' | 'bytes'): number =>
  shard[what] / (shards.reduce((sum, other) => sum + other[what], 0) / shards.length)

async function weigh ({ port, url }: EmbeddedNode, longest: { block: number, log: number, segment: number }): Promise<Shard> {
  const shard = { name: String(port), messages: 0, bytes: 0 }
  const client = await connect(url)
  try {
    for await (const key of client.scanIterator({ COUNT: KEYS_AT_ONCE })) {
      const kind = parseKey(key)?.kind
      shard.bytes += await client.memoryUsage(key, { SAMPLES: 0 }) ?? 0
      if (kind !== 'block' && kind !== 'log' && kind !== 'segment') continue
      const length = await client.xLen(key)
      if (kind === 'block') shard.messages += length
      longest[kind] = Math.max(longest[kind], length)
    }
  } finally {
    await client.disconnect()
  }
  return shard
}
