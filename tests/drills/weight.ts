// Weighs each shard key by key: messages in blocks, bytes of all keys, and the longest key of each
// kind.
import { connect } from '../../src/embedded/connection.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { parseKey } from '../../src/store/keys.js'
import { type World } from './world.js'

export type Shard = {
  readonly name: string
  readonly blocks: number
  readonly messages: number
  readonly bytes: number
  readonly longest: Readonly<Record<StreamKind, number>>
}

type StreamKind = 'block' | 'log' | 'segment'

const KEYS_AT_ONCE = 1000

/**
 * All masters in the order of their first slot. Reads every key, so it is for drills, not for a
 * cluster in use.
 */
export async function weighShards({ operator }: World): Promise<Shard[]> {
  return await Promise.all((await operator.masters()).map(({ process }) => weigh(process)))
}

/** A shard's part relative to the mean. */
export const shareOf = (
  shards: readonly Shard[],
  shard: Shard,
  what: 'messages' | 'bytes'
): number => shard[what] / (shards.reduce((sum, other) => sum + other[what], 0) / shards.length)

async function weigh({ port, url }: EmbeddedNode): Promise<Shard> {
  const longest = { block: 0, log: 0, segment: 0 }
  let blocks = 0
  let messages = 0
  let bytes = 0
  const client = await connect(url)
  try {
    for await (const key of client.scanIterator({ COUNT: KEYS_AT_ONCE })) {
      bytes += (await client.memoryUsage(key, { SAMPLES: 0 })) ?? 0
      const kind = parseKey(key)?.kind
      if (kind !== 'block' && kind !== 'log' && kind !== 'segment') continue
      const length = await client.xLen(key)
      longest[kind] = Math.max(longest[kind], length)
      if (kind !== 'block') continue
      blocks++
      messages += length
    }
  } finally {
    await client.disconnect()
  }
  return { name: String(port), blocks, messages, bytes, longest }
}
