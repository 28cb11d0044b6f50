// Redis loses data: the files of a real master are deleted. The service refuses requests instead of
// showing empty rooms, says why in one line, and continues when the operator accepts the loss.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { markers } from '../../src/redis/markers.js'
import { slotOf } from '../../src/redis/slots.js'
import { logKey } from '../../src/store/keys.js'
import { post, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { until } from '../support/until.js'
import { program } from '../support/program.js'

const ACCEPT = program('cli/accept-loss')

async function accept(
  redisNodes: readonly string[],
  ...words: string[]
): Promise<{ status: unknown; output: string }> {
  const child = spawn(process.execPath, [ACCEPT, ...words], {
    env: { PATH: process.env['PATH'], REDIS_NODES: redisNodes.join() },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => {
      output += String(chunk)
    })
  }
  const [status]: unknown[] = await once(child, 'close')
  return { status, output }
}

async function ask(node: EmbeddedNode, ...words: string[]): Promise<unknown> {
  const client = await connect(node.url)
  try {
    return await client.sendCommand(words)
  } finally {
    await client.disconnect()
  }
}

/**
 * A room whose log is in the first third of the slots: on the first node of a new cluster of three
 * masters.
 */
const ofFirst = (n: number): string => {
  for (let suffix = 0; ; suffix++) {
    if (slotOf(logKey(`room${n}-${suffix}`)) < 5000) return `room${n}-${suffix}`
  }
}

/**
 * Deletes a master's data within the node timeout. The node is still the master afterwards, and its
 * replica copies the empty data set.
 */
async function empty(node: EmbeddedNode): Promise<void> {
  await node.kill('SIGKILL')
  rmSync(join(node.dir, 'appendonlydir'), { recursive: true })
  await node.start()
}

const refusal = { status: 503, body: { code: 'STORE_LOST' } }

async function startAndFill(t: Test, rooms: readonly string[]) {
  // Long enough for the cluster to accept the returning node as the master.
  const cluster = await startCluster(t, { nodeTimeoutMs: 15_000 })
  const service = await startService(t, {
    redisNodes: cluster.serviceUrls,
    env: { STORE_DEADLINE_MS: '3000' }
  })
  for (const room of rooms) {
    for (const n of sequence(1, 3)) {
      t.equal((await post(service.url, room, 'ann', `text ${n}`)).status, 201)
    }
  }
  return { cluster, service }
}

t.test(
  'a master that comes back empty is refused, by the running service and by the next, until the loss is accepted',
  async t => {
    const rooms = sequence(1, 5).map(ofFirst)
    const { cluster, service } = await startAndFill(t, rooms)
    const [master] = cluster.nodes
    if (master === undefined) throw new Error('no master')

    const over = new AbortController()
    const odd: unknown[] = []
    const asking = rooms.map(async room => {
      while (!over.signal.aborted) {
        const answers = [
          await post(service.url, room, 'bob', 'more'),
          await request(`${service.url}/rooms/${room}/messages`)
        ]
        for (const { status, body } of answers) {
          const isSound =
            status === 503 ||
            (status === 201 && Number(body['seq']) > 3) ||
            (status === 200 && Number(body['head']) >= 3)
          if (!isSound) odd.push({ status, body })
        }
      }
    })
    await empty(master)
    await until(
      'the service refuses',
      async () =>
        (await request(`${service.url}/health/ready`)).status === 503 &&
        service.errors.includes('STORE_LOST'),
      20_000
    )
    for (const room of rooms) {
      t.match(await post(service.url, room, 'ann', 'more'), refusal)
      t.match(await request(`${service.url}/rooms/${room}/messages`), refusal)
    }
    over.abort()
    await Promise.all(asking)
    t.strictSame(odd, [], 'no room was ever shown as empty or started again')
    const ready = await request(`${service.url}/health/ready`)
    t.match(ready, {
      ...refusal,
      body: {
        ...refusal.body,
        message: `Redis has lost data: 127.0.0.1:${master.port} no longer has what the service had stored there.`
      }
    })
    const said = service.errors
      .split('\n')
      .filter(line => line.includes('"level":50') && line.includes('Redis has lost data'))
    t.equal(said.length, 1, 'one line says so')

    const next = new Service({
      redisNodes: cluster.serviceUrls,
      env: { STORE_DEADLINE_MS: '3000' }
    })
    await t.rejects(
      next.start(),
      /Dialogs cannot start: Redis has lost data: 127\.0\.0\.1:\d+ no longer has/
    )

    t.match(await accept(cluster.urls), { status: 2, output: /Add --yes/ })
    t.match(await accept(cluster.urls, '--yes'), { status: 0, output: /The loss is accepted/ })
    await until(
      'it is ready again',
      async () => (await request(`${service.url}/health/ready`)).status === 200,
      20_000
    )
    // For half a minute, a process assumes that a log that it knew is out of reach, not deleted.
    let first: Awaited<ReturnType<typeof post>> | undefined
    await until(
      'the room starts again',
      async () => {
        first = await post(service.url, rooms[0] ?? '', 'ann', 'anew')
        return first.status === 201
      },
      60_000
    )
    t.equal(first?.body['seq'], 1)
  }
)

t.test('a master that was emptied by a command is noticed at the next start', async t => {
  const { cluster, service } = await startAndFill(t, [ofFirst(1)])
  await service.stop()
  for (const node of cluster.nodes.slice(0, 1)) await ask(node, 'FLUSHALL')
  await t.rejects(service.start(), /Dialogs cannot start: Redis has lost data/)
})

t.test('markers that are only partly written are completed, not taken for a loss', async t => {
  const { cluster, service } = await startAndFill(t, [ofFirst(1)])
  await service.stop()
  const own = markers.filter(({ slot }) => slot < 5000)
  const [node] = cluster.nodes
  if (node === undefined) throw new Error('no node')
  for (const { key } of own.slice(1)) await ask(node, 'DEL', key)
  await ask(node, 'SET', own[0]?.key ?? '', 'begun')
  await service.start()
  for (const { key } of own) t.equal(await ask(node, 'GET', key), 'complete')
})
