// A quiet room is free: many rooms with a reader each, in which nothing happens, cost hardly any
// commands. At full size: `npm run bench -- idle`.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse, type SseReader } from '../support/sse.js'
import { until } from '../support/until.js'

const ROOMS = 400
const SECONDS = 6
/** How many commands a process with 15,000 rooms may send. */
const COMMANDS_PER_S_MAX = 50

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls })

/** How many commands the masters have received: those of clients, and those inside scripts. */
async function commands(): Promise<Map<string, number>> {
  const calls = new Map<string, number>()
  for (const node of cluster.nodes) {
    const client = await connect(node.url)
    try {
      const info = String(await client.sendCommand(['INFO', 'replication', 'commandstats']))
      if (!info.includes('role:master')) continue
      for (const [, name = '', count] of info.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)) {
        calls.set(name, (calls.get(name) ?? 0) + Number(count))
      }
    } finally {
      await client.disconnect()
    }
  }
  // Commands of replicas, and of this test itself.
  for (const name of ['replconf', 'psync', 'info', 'client|setinfo', 'auth', 'acl|setuser']) {
    calls.delete(name)
  }
  return calls
}

t.test(`${ROOMS} quiet rooms with a reader each cost hardly any commands`, async t => {
  const readers: SseReader[] = sequence(1, ROOMS).map(n =>
    openSse(t, `${service.url}/rooms/quiet-${n}/events`)
  )
  await until('all are live', () =>
    readers.every(({ events }) => events.some(({ event }) => event === 'live'))
  )
  const before = await commands()
  await sleep(1000 * SECONDS)
  const after = await commands()
  const spent = [...after]
    .map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const)
    .filter(([, count]) => count > 0)
  t.comment(spent.map(([name, count]) => `${name} ${count}`).join(', '))
  const total = spent.reduce((sum, [, count]) => sum + count, 0)
  t.ok(total < COMMANDS_PER_S_MAX * SECONDS, `${total} commands in ${SECONDS} s`)
  // Each room is looked at once in a quarter of an hour. The news of the peers are read with the
  // same command.
  const looks = spent.find(([name]) => name === 'xrevrange')?.[1] ?? 0
  t.ok(looks < ROOMS / 20, `${looks} looks at ${ROOMS} rooms`)
  t.ok(readers.every(({ hasEnded }) => !hasEnded))
})
