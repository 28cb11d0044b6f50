// Readers of a room whose shard answers nobody any more: they are told that they may miss
// something, their other rooms go on, and they get everything once the shard is back.
import t from 'tap'
import { roomSlot } from '../../src/store/keys.js'
import { freshRoom, post } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const SHARDS = 3
const SLOTS = 16_384
const shardOf = (room: string): number => Math.floor(roomSlot(room) / (SLOTS / SHARDS))
const roomOn = (isWanted: (shard: number) => boolean): string => {
  for (;;) {
    const room = freshRoom()
    if (isWanted(shardOf(room))) return room
  }
}

t.test(
  'readers of a room whose shard is silent are told so, and get what they missed afterwards',
  async t => {
    const cluster = await startCluster(t)
    const service = await startService(t, { redisNodes: cluster.urls })
    const silent = roomOn(shard => shard === 0)
    const other = roomOn(shard => shard !== 0)
    for (const room of [silent, other]) await post(service.url, room, 'ann', 'before')
    const reader = openSse(t, `${service.url}/events?room=${silent}&room=${other}`)
    await reader.sees(
      'both rooms are live',
      events => events.filter(({ event }) => event === 'live').length === 2
    )
    // A master, and the replica that follows it: nobody can take over.
    const nodes = cluster.nodes.filter((_, index) => index % SHARDS === 0)
    for (const node of nodes) await node.kill('SIGSTOP')
    const goOn = async (): Promise<void> => {
      for (const node of nodes) await node.kill('SIGCONT')
    }
    t.teardown(goOn)
    const begun = performance.now()
    await reader.sees('it is told', events => events.some(({ event }) => event === 'behind'))
    t.comment(`told after ${Math.round(performance.now() - begun)} ms`)
    const behind = reader.events.filter(({ event }) => event === 'behind')
    t.match(behind, [{ data: { room: silent, head: 1 } }], 'of the one room, once')
    await post(service.url, other, 'ann', 'meanwhile')
    await reader.sees('the other room goes on', events =>
      events.some(({ data }) => data['text'] === 'meanwhile')
    )
    await goOn()
    await until('it can be written to again', async () => {
      const { status } = await post(service.url, silent, 'ann', 'after')
      return status === 201
    })
    // The message comes while the room catches up, or after it: `live` precedes or follows it.
    const sinceBehind = (): Array<string | undefined> => {
      const ofSilent = reader.events.filter(({ data }) => data['room'] === silent)
      return ofSilent
        .slice(ofSilent.findIndex(({ event }) => event === 'behind') + 1)
        .map(({ event }) => event)
    }
    await reader.sees('the message, and that the room is live again', () => {
      const events = sinceBehind()
      return events.includes('message') && events.includes('live')
    })
    t.strictSame(sinceBehind().toSorted(), ['live', 'message'], 'each once')
    t.notOk(reader.hasEnded)
  }
)
