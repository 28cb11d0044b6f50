// The Lady Gaga effect: one user writes everything, in many rooms. The shards must hold equal
// shares of messages and bytes, and no key may grow with the number of messages.
import { count } from '../../src/cli/progress.js'
import { randomFrom } from '../../src/cli/zipf.js'
import { type Experiment, scaled } from './findings.js'
import { Ledger } from './ledger.js'
import { shareOf, weighShards } from './weight.js'
import { World } from './world.js'
import { Writers } from './writers.js'

const MESSAGES = 200_000
const ROOMS = 50
const BLOCK_LENGTH = 1000
const SEGMENT_LENGTH = 1024
const SHARE_MAX = 1.1
const CONNECTIONS = 64
/** How many entries may be committed while the oldest segment is being sealed. */
const IN_FLIGHT_MAX = 512

export const evenness: Experiment = {
  about: 'one user writes 200,000 messages in 50 rooms: shares of the shards, and the longest keys',
  // A smaller run has shorter blocks, not fewer: with few blocks the result would depend on chance.
  hold: async ({ scale, seed, report, rights }) => {
    const blockLength = scaled(BLOCK_LENGTH, scale)
    const segmentLength = scaled(SEGMENT_LENGTH, scale, 16)
    const world = await World.start({
      env: {
        BLOCK_LENGTH: String(blockLength),
        SEGMENT_LENGTH: String(segmentLength),
        ...rights?.env
      },
      report
    })
    try {
      const ledger = new Ledger()
      const rooms = Array.from({ length: ROOMS }, (_, index) => `room-${index}`)
      const writers = new Writers({
        urls: world.urls,
        ledger,
        random: randomFrom(seed),
        token: rights?.writer,
        messagesMax: scaled(MESSAGES, scale),
        writers: Array.from({ length: CONNECTIONS }, () => ({ user: 'lady_gaga', rooms }))
      }).start()
      await writers.done()
      await writers.stop()
      world.did(`${count(ledger.acknowledged)} messages written, ${ledger.failed} failed`)
      const shards = await weighShards(world)
      const longest = (kind: 'block' | 'log' | 'segment'): number =>
        Math.max(...shards.map(shard => shard.longest[kind]))
      const limits = {
        block: blockLength,
        log: 2 * segmentLength + IN_FLIGHT_MAX,
        segment: segmentLength
      }
      return {
        figures: [
          ...shards.map(
            shard =>
              `shard ${shard.name}: ${count(shard.messages)} messages (${shareOf(shards, shard, 'messages').toFixed(3)} of the mean), ${count(shard.bytes)} bytes (${shareOf(shards, shard, 'bytes').toFixed(3)})`
          ),
          `longest block ${longest('block')} of ${limits.block}, longest tail of a log ${longest('log')} of ${limits.log}, longest segment ${longest('segment')} of ${limits.segment}`
        ],
        violations: [
          ...shards.flatMap(shard =>
            (['messages', 'bytes'] as const)
              .filter(what => shareOf(shards, shard, what) > SHARE_MAX)
              .map(
                what =>
                  `shard ${shard.name} holds ${shareOf(shards, shard, what).toFixed(3)} times the mean of ${what}`
              )
          ),
          ...(['block', 'log', 'segment'] as const)
            .filter(kind => longest(kind) > limits[kind])
            .map(kind => `a ${kind} has ${longest(kind)} entries, more than ${limits[kind]}`),
          ...(ledger.failed > 0 ? [`${ledger.failed} POSTs failed`] : [])
        ]
      }
    } finally {
      await world.stop()
    }
  }
}
