// A store that has gone back in time: an older data set is restored while clients are connected.
// Every reader gets a `reset`, and then the history that it asked for at first. No reader keeps
// messages that no longer exist, or misses those that took their place.
import { cp, rm } from 'node:fs/promises'
import t from 'tap'
import { freshRoom, post, postMany, sequence } from '../support/client.js'
import { startCluster, temporaryDir, untilInFile } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls, env: { AUDIT_MS: '300' } })
const other = await startService(t, { redisNodes: cluster.urls, env: { AUDIT_MS: '300' } })

async function withStoppedNodes(work: (dir: string) => Promise<void>): Promise<void> {
  await untilInFile(cluster.nodes)
  await Promise.all(cluster.nodes.map(node => node.kill('SIGKILL')))
  for (const { dir } of cluster.nodes) await work(dir)
  await Promise.all(cluster.nodes.map(node => node.start()))
}

const room = freshRoom()
const saved = temporaryDir(t)
await postMany(service.url, room, 'ann', 20)
await withStoppedNodes(dir =>
  cp(dir, `${saved}/${dir.split('/').at(-1) ?? ''}`, { recursive: true })
)
await postMany(service.url, room, 'bob', 10)

const whole = openSse(t, `${service.url}/rooms/${room}/events`)
const newest = openSse(t, `${service.url}/rooms/${room}/events?last=3`)
await Promise.all([whole.isLive(), newest.isLive()])
const cursor = whole.lastId
const within = whole.events[24]?.id ?? ''

await withStoppedNodes(async dir => {
  await rm(dir, { recursive: true })
  await cp(`${saved}/${dir.split('/').at(-1) ?? ''}`, dir, { recursive: true })
})

t.test(
  'live readers are told that the log has become shorter, and get the history that they had asked for',
  async t => {
    t.same(whole.seqs.slice(0, 30), sequence(1, 30))
    await whole.sees('a reset', events => events.some(({ event }) => event === 'reset'), 30_000)
    await newest.sees('a reset', events => events.some(({ event }) => event === 'reset'), 30_000)
    await whole.sees('live again', events => events.at(-1)?.event === 'live')
    await newest.sees('live again', events => events.at(-1)?.event === 'live')
    t.match(whole.events[31], {
      id: '0',
      event: 'reset',
      data: { room, reason: 'rewound', head: 20 }
    })
    t.same(whole.seqs.slice(30), sequence(1, 20))
    t.match(newest.events[4], { id: '17', event: 'reset', data: { head: 20 } })
    t.same(newest.seqs, [28, 29, 30, 18, 19, 20])
  }
)

t.test('a cursor beyond the head is answered by a reset', async t => {
  const reader = openSse(t, `${other.url}/rooms/${room}/events`, { 'last-event-id': cursor })
  await reader.isLive()
  t.match(reader.events[0], { event: 'reset', data: { reason: 'beyond-head', head: 20 } })
  t.same(reader.seqs, sequence(1, 20))
})

t.test(
  'a sequence that was assigned a second time misleads neither a cursor nor a reader',
  async t => {
    await postMany(other.url, room, 'cyd', 10)
    await whole.sees('the messages that took their place', () => whole.seqs.length === 60)
    t.same(whole.seqs.slice(50), sequence(21, 30))
    const reader = openSse(t, `${service.url}/rooms/${room}/events?last=2`, {
      'last-event-id': within
    })
    await reader.isLive()
    t.match(reader.events[0], { event: 'reset', data: { reason: 'rewritten', head: 30 } })
    t.same(reader.seqs, [29, 30], 'the history that it asked for')
    const same = openSse(t, `${service.url}/rooms/${room}/events`, {
      'last-event-id': whole.lastId
    })
    await same.isLive()
    t.equal(same.events.length, 1, 'a valid cursor is honoured')
    await post(service.url, room, 'dan', 'last')
    await same.sees('what comes next', () => same.seqs.length === 1)
  }
)
