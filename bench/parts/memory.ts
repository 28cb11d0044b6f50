// The memory that Redis needs for a small dialog, and for a long room relative to the bytes of its
// texts. Measured as the growth of the masters' data by their own count, without buffers and
// connections. Replicas need the same amount again.
import { Load } from '../../src/cli/load.js'
import { fill, newFilling } from '../fill.js'
import { newRoom, newUserPrefix } from '../names.js'
import { type Part } from '../part.js'
import { sumOfValues, type RedisNodes } from '../redis-nodes.js'
import { atMost, row } from '../table.js'

const TEXT_BYTES = 100
const MESSAGES_PER_DIALOG = 5
const CONNECTIONS = 64
const WARM_UP_DIALOGS = 20
const KILOBYTE = 1024

export const memory: Part = {
  name: 'memory',
  about: 'Redis memory of small dialogs and of a long room',
  rounds: 3,
  seconds: 0,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const dialogCount = bench.size(2000, 50)
    // Load scripts and open connections before anything is counted.
    await writeDialogs(dialogs.url, WARM_UP_DIALOGS)
    const small = await bench.interleave<number>([
      {
        name: `${dialogCount} small dialogs`,
        measure: async () =>
          (await addedBytes(dialogs.redis, () => writeDialogs(dialogs.url, dialogCount))) /
          dialogCount /
          KILOBYTE
      }
    ])
    const long = newFilling(bench.size(1_000_000, 5000), bench.size(1000, 20), TEXT_BYTES)
    bench.say(`filling a room with ${long.messages} messages`)
    const longBytes = await addedBytes(dialogs.redis, () =>
      bench.showing('messages', long.messages, update => fill(dialogs.redis, long, update))
    )
    return {
      tables: [
        {
          title: 'Redis memory, all masters, replicas not counted',
          rows: [
            row(
              `a dialog of 2 people and ${MESSAGES_PER_DIALOG} messages of ${TEXT_BYTES} bytes`,
              'KB',
              [...small.values()].flat(),
              atMost(6)
            ),
            row(
              `a room of ${long.messages} messages by ${long.users} users, over the bytes of its texts`,
              '×',
              [longBytes / (long.messages * TEXT_BYTES)],
              atMost(2.2)
            )
          ],
          notes: [
            `The mean of ${dialogCount} dialogs, whose people have never written before; the counters that Redis keeps for new users are in it.`
          ]
        }
      ]
    }
  }
}

async function addedBytes(redis: RedisNodes, work: () => Promise<void>): Promise<number> {
  const before = sumOfValues(await redis.dataBytes())
  await work()
  return sumOfValues(await redis.dataBytes()) - before
}

async function writeDialogs(url: string, count: number): Promise<void> {
  const room = newRoom()
  const userPrefix = newUserPrefix()
  let failed = 0
  await new Load({
    url,
    connections: CONNECTIONS,
    count: count * MESSAGES_PER_DIALOG,
    compose: index => {
      const dialog = Math.floor(index / MESSAGES_PER_DIALOG)
      return {
        room: `${room}-${dialog}`,
        user: `${userPrefix}${2 * dialog + (index % 2)}`,
        text: 'x'.repeat(TEXT_BYTES)
      }
    },
    onFailed: () => {
      failed++
    }
  }).run()
  if (failed > 0) throw new Error(`${failed} messages were not stored`)
}
