// Readers of a room, and people with a dialog, whose shard answers nobody any more: they are told
// that they may miss something, everything else goes on, and they get all of it once the shard is
// back.
import t from 'tap'
import { slotOf } from '../../src/redis/slots.js'
import { roomSlot, userSlot } from '../../src/store/keys.js'
import { freshRoom, post, request } from '../support/client.js'
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

t.test(
  'a person is told that dialogs may be out of date, whichever shard is silent, and gets what was missed',
  async t => {
    const cluster = await startCluster(t)
    const service = await startService(t, { redisNodes: cluster.urls })
    const userOn = (isWanted: (shard: number) => boolean): string => {
      for (;;) {
        const user = freshRoom()
        if (isWanted(Math.floor(userSlot(user) / (SLOTS / SHARDS)))) return user
      }
    }
    const silent = roomOn(shard => shard === 0)
    const other = roomOn(shard => shard !== 0)
    // Whose numbers and texts are elsewhere.
    const isElsewhere = (tag: string): boolean => slotOf(`{${tag}}`) >= SLOTS / SHARDS
    let writer = freshRoom()
    while (!isElsewhere(writer) || !isElsewhere(`${writer}.0`)) writer = freshRoom()
    // One whose list is on the silent shard, and one who has only a room there.
    const people = [userOn(shard => shard === 0), userOn(shard => shard !== 0)]
    for (const room of [silent, other]) {
      for (const user of people) await post(service.url, room, user, 'before')
    }
    const streams = await Promise.all(
      people.map(async user => {
        const stream = openSse(t, `${service.url}/users/${user}/events`)
        await stream.sees('it is live', events => events.some(({ event }) => event === 'live'))
        return stream
      })
    )
    const nodes = cluster.nodes.filter((_, index) => index % SHARDS === 0)
    for (const node of nodes) await node.kill('SIGSTOP')
    const goOn = async (): Promise<void> => {
      for (const node of nodes) await node.kill('SIGCONT')
    }
    t.teardown(goOn)
    for (const stream of streams) {
      await stream.sees('they are told', events => events.some(({ event }) => event === 'behind'))
    }
    const { status } = await post(service.url, other, writer, 'meanwhile')
    t.equal(status, 201)
    for (const stream of streams) {
      await stream.sees('the other room goes on', events =>
        events.some(({ data }) => data['room'] === other && data['head'] === 3)
      )
    }
    await goOn()
    await until('it can be written to again', async () => {
      const { status } = await post(service.url, silent, writer, 'after')
      return status === 201
    })
    for (const [index, stream] of streams.entries()) {
      await stream.sees('it is live again', events =>
        events.some(({ event }, at) => {
          return event === 'live' && events.slice(0, at).some(({ event }) => event === 'behind')
        })
      )
      await stream.sees('what follows', events =>
        events.some(({ data }) => data['room'] === silent && Number(data['head']) >= 3)
      )
      t.strictSame(
        stream.events.filter(({ event }) => event === 'behind').map(({ data }) => data),
        [{ user: people[index] }],
        'it was told once'
      )
      t.notOk(stream.hasEnded)
    }
  }
)

t.test(
  'while a shard is silent, pages and lists of rooms elsewhere do not wait for those on it',
  async t => {
    const cluster = await startCluster(t)
    const { url } = await startService(t, { redisNodes: cluster.urls })
    const isElsewhere = (slot: number): boolean => slot >= SLOTS / SHARDS
    // Whose list, numbers and texts are elsewhere.
    const userElsewhere = (): string => {
      for (;;) {
        const user = freshRoom()
        if ([`{${user}}`, `{${user}.0}`].every(key => isElsewhere(slotOf(key)))) return user
      }
    }
    const [writer, busy] = [userElsewhere(), userElsewhere()]
    const other = roomOn(shard => shard !== 0)
    t.equal((await post(url, other, writer, 'hello')).status, 201)
    // More than dialogs are read at the same time.
    const silent = Array.from({ length: 300 }, () => roomOn(shard => shard === 0))
    const invited = await Promise.all(
      silent.map(room => request(`${url}/rooms/${room}/users/${busy}`, { method: 'PUT' }))
    )
    t.ok(invited.every(({ status }) => status === 201))
    const nodes = cluster.nodes.filter((_, index) => index % SHARDS === 0)
    for (const node of nodes) await node.kill('SIGSTOP')
    const goOn = async (): Promise<void> => {
      for (const node of nodes) await node.kill('SIGCONT')
    }
    t.teardown(goOn)
    const stuck = [
      // Three times ANSWER_READS_MAX, all of the same client as the pages below.
      ...silent.slice(0, 96).map(room => `/rooms/${room}/messages`),
      `/users/${busy}/rooms?limit=1000`
    ].map(path => request(url + path))
    for (let n = 0; n < 3; n++) {
      for (const path of [`/rooms/${other}/messages`, `/users/${writer}/rooms`]) {
        const begun = performance.now()
        t.equal((await request(url + path)).status, 200, path)
        const tookMs = performance.now() - begun
        // The others give their places away after a second at the earliest, and get their 503 after
        // 10 s.
        t.ok(tookMs < 900, `${path} took ${Math.round(tookMs)} ms`)
      }
    }
    const statuses = new Set((await Promise.all(stuck)).map(({ status }) => status))
    t.strictSame(statuses, new Set([503]))
    await goOn()
  }
)
