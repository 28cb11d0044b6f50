// How the sharding key handles the Lady Gaga effect: one user writes, and the share of each shard
// is measured when the messages fill 1, 10 and 1,000 blocks. The blocks are shorter than by
// default. That makes no difference, because only the block's name decides its shard.
import { randomFrom } from '../../src/cli/zipf.js'
import { Ledger } from './ledger.js'
import { type Shard, weighShards } from './weight.js'
import { World } from './world.js'
import { Writers } from './writers.js'

export type Distribution = {
  readonly blocks: number
  readonly messages: number
  readonly shards: readonly Shard[]
}

const CONNECTIONS = 64
const BLOCK_LENGTH = 100

/** @param blockCounts in ascending order */
export async function measureDistribution(
  blockCounts: readonly number[],
  seed: number
): Promise<{ blockLength: number; rows: Distribution[] }> {
  const world = await World.start({ env: { BLOCK_LENGTH: String(BLOCK_LENGTH) } })
  try {
    const rows: Distribution[] = []
    const ledger = new Ledger()
    for (const blocks of blockCounts) {
      const writers = new Writers({
        urls: world.urls,
        ledger,
        random: randomFrom(seed),
        messagesMax: blocks * BLOCK_LENGTH,
        writers: Array.from({ length: Math.min(CONNECTIONS, blocks) }, () => ({
          user: 'lady_gaga',
          rooms: ['room123']
        }))
      }).start()
      await writers.done()
      await writers.stop()
      rows.push({ blocks, messages: ledger.acknowledged, shards: await weighShards(world) })
    }
    return { blockLength: BLOCK_LENGTH, rows }
  } finally {
    await world.stop()
  }
}
