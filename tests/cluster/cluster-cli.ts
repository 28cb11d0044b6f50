// The cluster command on real clusters, while somebody writes: every command, its interruption and
// continuation, slots that were left half-moved in every way, and what the command refuses.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { findUnfinished, finishHalfMoved } from '../../src/cli/cluster/half-moved.js'
import { countAllKeys } from '../../src/cli/cluster/keys.js'
import { type ClusterMap, type MapNode } from '../../src/cli/cluster/map.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { runAdd, runRemove } from '../../src/cli/cluster/member-commands.js'
import { planReshard } from '../../src/cli/cluster/plan.js'
import { Refusal } from '../../src/cli/cluster/refusal.js'
import { Session } from '../../src/cli/cluster/session.js'
import { type Status } from '../../src/cli/cluster/status.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { readConfig } from '../../src/config.js'
import { EmbeddedCluster } from '../../src/embedded/cluster.js'
import { commandOf } from '../../src/embedded/processes.js'
import { RunningCluster } from '../../src/embedded/running.js'
import { type Reply } from '../../src/redis/connection.js'
import { slotOf } from '../../src/redis/slots.js'
import { freshRoom, postMany, readAll, request } from '../support/client.js'
import { ClusterCommand, type Env, runCluster } from '../support/cluster-command.js'
import { elsewhere as skip } from '../support/elsewhere.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { SteadyWriter } from '../support/steady-writer.js'
import { connectTo } from '../support/store.js'
import { until } from '../support/until.js'

// Half of the time is spent waiting for processes, above all 2 s for each node that starts.
t.jobs = 2

const SILENT = { isYes: true, speed: 1, isByKeys: false }
const FULL_SPEED = ['--yes', '--speed', '100']

t.test(
  'an embedded cluster is extended, rebalanced, drained and shrunk under a running service, which then restarts with it',
  { skip },
  async t => {
    const dataDir = temporaryDir(t)
    const env = { DATA_DIR: dataDir }
    const service = await startService(t, { env })
    t.teardown(() => service.stop())
    const room = freshRoom()
    await postMany(service.url, room, 'ann', 20)
    const before = await readStatus(t, env)
    t.equal(before.shards.length, 3)
    const [first = ''] = before.shards.map(({ master }) => master.address)

    await RunningCluster.find(dataDir, 2000)?.addNode() // as an interrupted `add` leaves it
    const added = await runCluster(t, env, 'add', '--yes')
    t.equal(folders(dataDir).length, 8, 'a node that was started but has not joined is used first')
    t.match(
      added,
      {
        status: 0,
        output: /Added 127\.0\.0\.1:\d+ .* with 127\.0\.0\.1:\d+\. It has no slots yet/
      },
      added.errors
    )
    const four = await readStatus(t, env)
    t.same(
      four.shards.map(({ slotCount, replicas }) => [slotCount, replicas.length]),
      [
        [5461, 1],
        [5462, 1],
        [5461, 1],
        [0, 1]
      ]
    )

    const rebalanced = await runCluster(t, env, 'rebalance', ...FULL_SPEED)
    t.match(rebalanced, { status: 0, output: /Moved 4,096 of 4,096 slots/ }, rebalanced.errors)
    t.same(
      (await readStatus(t, env)).shards.map(({ slotCount }) => slotCount),
      [4096, 4096, 4096, 4096]
    )
    t.match(await runCluster(t, env, 'rebalance', '--yes'), { status: 0, output: 'Nothing to do' })

    t.match(await runCluster(t, env, 'remove', first, '--yes'), {
      status: 1,
      errors: /has 4096 slots: drain it first/
    })
    t.match(await runCluster(t, env, 'drain', first, ...FULL_SPEED), {
      status: 0,
      output: /Moved 4,096 of 4,096 slots/
    })
    const drained = await readStatus(t, env)
    t.match(
      drained.shards.find(({ master }) => master.address === first),
      { slotCount: 0, replicas: { length: 1 } },
      'the empty master keeps its replica'
    )
    t.same(
      drained.shards.map(({ slotCount }) => slotCount),
      [5462, 5461, 5461, 0]
    )
    const nodeDirs = folders(dataDir)
    t.match(await runCluster(t, env, 'remove', first, '--yes'), { status: 0, output: /^Removed /m })
    t.same(
      (await readStatus(t, env)).shards.map(({ slotCount, replicas }) => [
        slotCount,
        replicas.length
      ]),
      [
        [5462, 1],
        [5461, 1],
        [5461, 1]
      ]
    )
    t.equal(folders(dataDir).length, nodeDirs.length - 2)

    await postMany(service.url, room, 'bob', 20)
    await service.restart()
    t.equal((await readAll(service.url, room)).length, 40)
    t.match((await request(`${service.url}/cluster`)).body, { shards: { length: 3 } })
    await postMany(service.url, room, 'eve', 20)

    t.match(await runCluster(t, env, 'add', '--yes', '--replicas', '0'), { status: 0 })
    const pids = folders(dataDir).map(name =>
      Number(readFileSync(join(dataDir, name, 'redis.pid'), 'utf8'))
    )
    t.equal(pids.length, 7)
    t.equal(await service.stop(), 0)
    t.same(
      pids.map(commandOf),
      pids.map(() => undefined),
      'its stop also ends the node that it did not start'
    )
    const stopped = await runCluster(t, env, 'status')
    t.match(stopped, { status: 1, errors: /does not run: start the service first/ }, stopped.output)
  }
)

t.test(
  'status shows nodes, slots, keys, and which block of a room lies where',
  { skip },
  async t => {
    const cluster = await startCluster(t)
    const env = envOf(cluster)
    const service = await startService(t, { redisNodes: cluster.urls, env: { BLOCK_LENGTH: '5' } })
    const room = freshRoom()
    await postMany(service.url, room, 'lady_gaga', 23)
    const { blocks } = (await request(`${service.url}/rooms/${room}/blocks`)).body as {
      blocks: Array<{ key: string; shard: string }>
    }

    const { status, output } = await runCluster(
      t,
      { ...env, BLOCK_LENGTH: '5' },
      'status',
      '--room',
      room
    )
    t.equal(status, 0)
    t.match(output, /^3 shards, 6 nodes: healthy, all 16,384 slots have an owner\n/)
    for (const node of cluster.nodes) {
      t.match(output, new RegExp(`127\\.0\\.0\\.1:${node.port} +\\w{8} +(master|replica) +up`))
    }
    t.match(output, `Room ${room}: 23 messages in ${blocks.length} blocks`)
    for (const { key, shard } of blocks) {
      t.match(
        output.split('\n').find(line => line.startsWith(`${key} `)),
        shard
      )
    }

    const json = JSON.parse((await runCluster(t, env, 'status', '--json')).output)
    t.match(json, {
      isHealthy: true,
      faults: { length: 0 },
      halfMoved: { length: 0 },
      shards: { length: 3 }
    })
    t.match(await runCluster(t, env, 'status', '--room', freshRoom()), {
      status: 0,
      output: /has no messages/
    })
  }
)

t.test(
  'a drain that is interrupted, killed and repeated finishes under load without losing anything',
  async t => {
    const cluster = await startCluster(t)
    const env = envOf(cluster)
    const writer = (
      await new SteadyWriter(t, await connectTo(t, cluster.urls, redisTarget(cluster.urls))).fill()
    ).start()
    const { map } = await look(t, cluster)
    const name = String(at(map.masters, 0).reachable.port)

    const interrupted = new ClusterCommand(
      t,
      env,
      'drain',
      name,
      '--yes',
      '--speed',
      '20',
      '--by-keys'
    )
    await interrupted.isUnderWay()
    interrupted.signal('SIGINT')
    t.equal(await interrupted.status(), 130)
    t.match(interrupted.output, /^Stopped: [\d,]+ of 5,461 slots/m)
    t.match(interrupted.errors, `To continue: npm run cluster -- drain ${name}\n`)
    t.same((await readStatus(t, env)).halfMoved, [], 'no slot is left half-moved')

    const killed = new ClusterCommand(t, env, 'drain', name, '--yes', '--speed', '20', '--by-keys')
    await killed.isUnderWay()
    killed.signal('SIGKILL')
    t.equal(await killed.status(), null)
    t.ok(
      (await readStatus(t, env)).shards.some(
        ({ master, slotCount }) => master.address.endsWith(name) && slotCount > 0
      )
    )

    const finished = await runCluster(t, env, 'drain', name, ...FULL_SPEED)
    t.equal(finished.status, 0, finished.errors)
    const status = await readStatus(t, env)
    t.equal(status.shards.find(({ master }) => master.address.endsWith(name))?.slotCount, 0)
    t.same([status.halfMoved, status.staleMarks], [[], []])
    await writer.stop()
    t.same(writer.failures, [])
    t.same(await writer.faults(), [])
    t.ok(writer.written > 500, `${writer.written} written meanwhile`)
    await keysAreAtTheirOwners(t, cluster)
  }
)

t.test(
  'an interrupted reshard by count names the remaining slots, and moving them completes it',
  { skip },
  async t => {
    const cluster = await startCluster(t, { shards: 2, replicas: 0 })
    const env = envOf(cluster)
    const [from, to] = (await look(t, cluster)).map.masters.map(({ reachable }) =>
      String(reachable.port)
    )
    const command = new ClusterCommand(
      t,
      env,
      'reshard',
      '--from',
      from ?? '',
      '--to',
      to ?? '',
      '--slots',
      '3000',
      '--yes',
      '--speed',
      '10',
      '--by-keys'
    )
    await command.isUnderWay()
    command.signal('SIGTERM')
    t.equal(await command.status(), 130)
    const words = /To continue: npm run cluster -- (.*)/.exec(command.errors)?.[1]?.split(' ') ?? []
    t.match(words.slice(0, 6), ['reshard', '--from', from, '--to', to, '--slots'])
    t.match(await runCluster(t, env, ...words, ...FULL_SPEED), { status: 0 })
    t.same(
      (await readStatus(t, env)).shards.map(({ slotCount }) => slotCount).sort((a, b) => a - b),
      [5192, 11192]
    )
    t.match(
      await runCluster(t, env, ...words, ...FULL_SPEED),
      { status: 0, output: 'Nothing to do' },
      'run again, it changes nothing'
    )
  }
)

t.test(
  'a slot that was left half-moved in any way is shown, and finished with all its keys',
  async t => {
    const cluster = await startCluster(t)
    const env = envOf(cluster)
    const client = await connectTo(t, cluster.urls, redisTarget(cluster.urls))
    const { admin, map } = await look(t, cluster)
    const [a, b, c] = [at(map.masters, 0), at(map.masters, 1), at(map.masters, 2)]
    // Slots of the first master, with 20 keys each.
    const kinds = [
      'both marks',
      'owner marked',
      'target marked',
      'target marked, no keys there',
      'no marks',
      'a third node marked too'
    ] as const
    const tags = tagsOf(map, a, kinds.length)
    const setSlot = (node: MapNode, tag: string, ...words: string[]): Promise<Reply> =>
      admin.ask(node, 'CLUSTER', 'SETSLOT', String(slotOf(`{${tag}}`)), ...words)
    for (const tag of tags) {
      for (let index = 0; index < 20; index++) {
        await client.command(slotOf(`{${tag}}`), ['SET', `{${tag}}${index}`, `value ${index}`])
      }
    }
    for (const [index, kind] of kinds.entries()) {
      const tag = at(tags, index)
      await setSlot(b, tag, 'IMPORTING', a.id)
      await setSlot(a, tag, 'MIGRATING', b.id)
      if (!kind.includes('no keys')) {
        await migrate(
          admin,
          a,
          b,
          Array.from({ length: 10 }, (_, index) => `{${tag}}${index}`)
        )
      }
      if (kind === 'both marks') {
        await admin.askAll(b, [['ASKING'], ['SET', `{${tag}}new`, 'written meanwhile']])
      }
      if (kind.startsWith('target marked') || kind === 'no marks') await setSlot(a, tag, 'STABLE')
      if (kind === 'owner marked' || kind === 'no marks') await setSlot(b, tag, 'STABLE')
      if (kind === 'a third node marked too') await setSlot(c, tag, 'IMPORTING', a.id)
    }

    const status = await readStatus(t, env)
    t.same(
      status.halfMoved.map(({ slot }) => slot).sort(),
      tags.map(tag => slotOf(`{${tag}}`)).sort()
    )
    t.ok(
      status.halfMoved.every(
        ({ from, to }) =>
          from.endsWith(String(a.reachable.port)) && to.endsWith(String(b.reachable.port))
      )
    )
    t.equal(status.staleMarks.length, 1)
    t.match(await runCluster(t, env, 'status'), { status: 0, output: /Half-moved slots/ })

    const finished = await runCluster(t, env, 'finish', '--yes')
    t.match(
      finished,
      { status: 0, output: `Finished ${tags.length} half-moved slots.` },
      finished.errors
    )
    const after = await readStatus(t, env)
    t.same([after.halfMoved, after.staleMarks], [[], []])
    for (const [index, kind] of kinds.entries()) {
      const tag = at(tags, index)
      const values = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          client.command(slotOf(`{${tag}}`), ['GET', `{${tag}}${index}`])
        )
      )
      t.same(
        values,
        Array.from({ length: 20 }, (_, index) => `value ${index}`),
        kind
      )
    }
    t.equal(
      await client.command(slotOf(`{${tags[0]}}`), ['GET', `{${tags[0]}}new`]),
      'written meanwhile'
    )
    await keysAreAtTheirOwners(t, cluster)
  }
)

t.test(
  'if both sides have a key, the fuller copy is kept: a mark that somebody left proves nothing',
  async t => {
    const cluster = await startCluster(t, { shards: 2, replicas: 0 })
    const client = await connectTo(t, cluster.urls, redisTarget(cluster.urls))
    const { admin, map } = await look(t, cluster)
    const [a, b] = [at(map.masters, 0), at(map.masters, 1)]
    const [marked = '', unmarked = ''] = tagsOf(map, a, 2)
    const slots = [marked, unmarked].map(tag => String(slotOf(`{${tag}}`)))
    for (const slot of slots) await admin.ask(b, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', a.id)
    for (const tag of [marked, unmarked]) {
      // The target has 3 entries of the stream, and 5 of the counter.
      await admin.askAll(b, [
        ['ASKING'],
        ['XADD', `{${tag}}s`, '0-1', 'at', 'b'],
        ['ASKING'],
        ['XADD', `{${tag}}s`, '0-2', 'at', 'b'],
        ['ASKING'],
        ['XADD', `{${tag}}s`, '0-3', 'at', 'b'],
        ['ASKING'],
        ['SET', `{${tag}}c`, '5']
      ])
      await admin.askAll(a, [
        ['XADD', `{${tag}}s`, '0-1', 'at', 'a'],
        ['SET', `{${tag}}c`, '7'],
        ['SET', `{${tag}}only`, 'a']
      ])
    }
    await admin.ask(a, 'CLUSTER', 'SETSLOT', slots[0] ?? '', 'MIGRATING', b.id)

    const lines: string[] = []
    const result = await finishHalfMoved(admin, {
      speed: 100,
      report: line => {
        lines.push(line)
      }
    })
    t.match(result, { isComplete: true, slotsDone: 2 })
    const lengthAndCount = async (tag: string): Promise<Reply[]> => [
      await client.command(slotOf(`{${tag}}`), ['XLEN', `{${tag}}s`]),
      await client.command(slotOf(`{${tag}}`), ['GET', `{${tag}}c`]),
      await client.command(slotOf(`{${tag}}`), ['GET', `{${tag}}only`])
    ]
    // A mark does not show which copy is right: whoever set it may have found keys on the target,
    // and died.
    t.same(await lengthAndCount(marked), [3, '7', 'a'])
    t.same(await lengthAndCount(unmarked), [3, '7', 'a'])
    t.equal(lines.length, 4, 'the dropped copy is reported')
    t.match(
      lines.find(line => line.includes('}s')),
      /kept a stream of 3 entries, dropped a stream of 1 entries$/
    )
    t.same((await findUnfinished(admin, await admin.look())).moves, [])
  }
)

t.test("no batch is moved before the target's replica has the previous one", async t => {
  const cluster = await startCluster(t, { shards: 2 })
  const { admin, map } = await look(t, cluster)
  const [a, b] = [at(map.masters, 0), at(map.masters, 1)]
  const [tag = ''] = tagsOf(map, a, 1)
  if (/^valkey_version:/m.test(String(await admin.ask(a, 'INFO', 'server')))) {
    t.plan(
      0,
      'from Valkey 8 on, a hanging replica makes marking slots impossible: see the next test'
    )
    return
  }
  for (let index = 0; index < 30; index++) {
    await admin.ask(a, 'SET', `{${tag}}${index}`, 'x'.repeat(200_000))
  }
  const replica = cluster.nodes.find(({ port }) => port === map.replicasOf(b.id)[0]?.reachable.port)
  await replica?.kill('SIGSTOP')
  t.teardown(() => replica?.kill('SIGCONT'))

  let keysDone = 0
  const moving = moveSlots(admin, [{ slot: slotOf(`{${tag}}`), from: a.id, to: b.id }], {
    speed: 100,
    isByKeys: true,
    onProgress: now => {
      keysDone = now.keysDone
    }
  })
  await until('the first batch is on the target', () => keysDone > 0)
  // There is no condition to wait for to see that nothing more arrives.
  await new Promise(resolve => setTimeout(resolve, 300))
  t.ok(keysDone <= 2, `${keysDone} keys of 200 kB each are on the way`)
  await replica?.kill('SIGCONT')
  t.match(await moving, { isComplete: true, keysDone: 30 })
})

t.test('small keys of many slots share their confirmations by a replica', async t => {
  const cluster = await startCluster(t, { shards: 2 })
  const { admin, map } = await look(t, cluster)
  const [a, b] = [at(map.masters, 0), at(map.masters, 1)]
  const tags = tagsOf(map, a, 120)
  for (const tag of tags) await admin.ask(a, 'SET', `{${tag}}`, tag)
  const moves = tags.map(tag => ({ slot: slotOf(`{${tag}}`), from: a.id, to: b.id }))
  const moved = await moveSlots(admin, moves, { speed: 100, isByKeys: true })
  t.match(moved, { isComplete: true, slotsDone: 120, keysDone: 120, retries: 0 })
  for (const tag of tags) t.equal(await admin.ask(b, 'GET', `{${tag}}`), tag)
  const stats = String(await admin.ask(b, 'INFO', 'commandstats'))
  const waits = Number(/cmdstat_wait:calls=(\d+)/.exec(stats)?.[1])
  t.ok(waits >= 3 && waits <= 20, `${waits} confirmations`)
})

t.test('a hanging replica does not prevent moving slots', async t => {
  const cluster = await startCluster(t, { shards: 2, nodeTimeoutMs: 60_000 })
  const { admin, map } = await look(t, cluster)
  const [a, b] = [at(map.masters, 0), at(map.masters, 1)]
  const replica = cluster.nodes.find(({ port }) => port === map.replicasOf(b.id)[0]?.reachable.port)
  await replica?.kill('SIGSTOP')
  t.teardown(() => replica?.kill('SIGCONT'))
  const [slot = 0] = map.slotsOf(a.id)
  t.match(await moveSlots(admin, [{ slot, from: a.id, to: b.id }], { isByKeys: true }), {
    isComplete: true,
    slotsDone: 1
  })
})

t.test('a failover can be requested by master or by replica, and loses no write', async t => {
  const cluster = await startCluster(t, { shards: 2 })
  const env = envOf(cluster)
  const writer = new SteadyWriter(
    t,
    await connectTo(t, cluster.urls, redisTarget(cluster.urls)),
    20
  ).start()
  const { map } = await look(t, cluster)
  const master = at(map.masters, 0)
  const replica = at(map.replicasOf(master.id), 0)
  t.match(await runCluster(t, env, 'failover', String(master.reachable.port), '--yes'), {
    status: 0,
    output: `127.0.0.1:${replica.reachable.port} (${replica.id.slice(0, 8)}) is the master`
  })
  t.ok(
    (await readStatus(t, env)).shards.some(
      shard => shard.master.id === replica.id && shard.replicas[0]?.id === master.id
    )
  )
  t.match(await runCluster(t, env, 'failover', master.id.slice(0, 12), '--yes'), { status: 0 })
  t.ok((await readStatus(t, env)).shards.some(shard => shard.master.id === master.id))
  await writer.stop()
  t.same(writer.failures, [])
  t.same(await writer.faults(), [])
})

t.test('empty nodes join as a shard or as replicas; other nodes are refused', { skip }, async t => {
  const cluster = await startCluster(t, { shards: 2, replicas: 0 })
  const other = await startCluster(t, { shards: 1, replicas: 0 })
  const env = envOf(cluster)
  const address = async (): Promise<string> => `127.0.0.1:${(await cluster.addNode()).port}`
  const [master, replica, second] = [await address(), await address(), await address()]

  t.match(await runCluster(t, env, 'add', '--yes'), {
    status: 1,
    errors: /not an embedded cluster: name the empty nodes/
  })
  t.match(await runCluster(t, env, 'add', '127.0.0.1:1', '--yes'), {
    status: 1,
    errors: /127\.0\.0\.1:1 does not answer/
  })
  t.match(await runCluster(t, env, 'add', new URL(at(other.urls, 0)).host, '--yes'), {
    status: 1,
    errors: /belongs to another cluster/
  })
  t.match(await runCluster(t, env, 'add', new URL(at(cluster.urls, 0)).host, '--yes'), {
    status: 1,
    errors: /in the cluster already and has slots/
  })
  t.match(await runCluster(t, env, 'add', master, replica, '--yes'), {
    status: 0,
    output: `Added ${master}`
  })
  t.match(await runCluster(t, env, 'add', second, '--replica-of', master, '--yes'), {
    status: 0,
    output: `Added ${second}`
  })
  t.match(
    (await readStatus(t, env)).shards
      .find(shard => shard.master.address === master)
      ?.replicas.map(({ address }) => address)
      .sort(),
    [replica, second].sort()
  )
  t.match(
    await runCluster(t, env, 'add', master, replica, '--yes'),
    { status: 0 },
    'repeated, it changes nothing'
  )

  t.match(await runCluster(t, env, 'remove', second, '--yes'), { status: 0 })
  const heir = at((await readStatus(t, env)).shards, 0).master.address
  const kept = await runCluster(t, env, 'remove', master, '--keep-replicas', '--yes')
  t.match(kept, { status: 0, output: `will follow ${heir}` }, kept.errors)
  const { shards } = await readStatus(t, env)
  t.equal(shards.length, 2)
  t.same(
    shards.flatMap(({ replicas }) => replicas.map(({ address }) => address)),
    [replica]
  )
  t.match(
    await runCluster(t, env, 'add', master, '--yes'),
    { status: 0 },
    'a node that has left is empty, and may join again'
  )
})

t.test(
  'a command that would lose data or is impossible is refused with a reason, and changes nothing',
  { skip },
  async t => {
    const cluster = await startCluster(t, { shards: 2, nodeTimeoutMs: 1000 })
    const env = envOf(cluster)
    const { admin, map } = await look(t, cluster)
    const [a, b] = [at(map.masters, 0), at(map.masters, 1)]
    const name = (node: MapNode): string => String(node.reachable.port)
    const replica = at(map.replicasOf(a.id), 0)
    const refused = async (errors: RegExp, ...words: string[]): Promise<void> => {
      t.match(await runCluster(t, env, ...words), { status: 1, errors }, words.join(' '))
    }

    await refused(/has 8192 slots: drain it first/, 'remove', name(a), '--yes')
    await refused(/is a replica of .*: name the master/, 'drain', name(replica), '--yes')
    await refused(
      /is a replica of .*: name the master/,
      'reshard',
      '--from',
      name(a),
      '--to',
      name(replica),
      '--slots',
      '10',
      '--yes'
    )
    await refused(
      /only 8192 to take/,
      'reshard',
      '--from',
      name(a),
      '--to',
      name(b),
      '--slots',
      '9000',
      '--yes'
    )
    await refused(
      /are not on the masters to take them from/,
      'reshard',
      '--from',
      name(a),
      '--to',
      name(a),
      '--slots',
      '8192-8200',
      '--yes'
    )
    await refused(/cannot be drained to itself/, 'drain', name(a), '--to', name(a), '--yes')
    await refused(/No node is called 'nobody'/, 'drain', 'nobody', '--yes')
    await refused(/no terminal to ask on\. Add --yes/, 'drain', name(a))
    await refused(/No node is called/, 'failover', '1', '--yes')
    t.match(await runCluster(t, env, 'drain'), { status: 2, errors: /drain needs a node/ })

    await admin.ask(b, 'CONFIG', 'SET', 'maxmemory', '1')
    await refused(/has no room for about/, 'drain', name(a), '--yes')
    await admin.ask(b, 'CONFIG', 'SET', 'maxmemory', '0')

    await admin.claim(map)
    await refused(/Another cluster command is running/, 'drain', name(a), '--yes')
    admin.close()
    t.same(
      (await readStatus(t, env)).shards.map(({ slotCount }) => slotCount),
      [8192, 8192]
    )

    t.match(await runCluster(t, env, 'drain', name(a), ...FULL_SPEED), { status: 0 })
    await refused(
      /last shard that has slots: say where they should go, for example --to/,
      'drain',
      name(b),
      '--yes'
    )
    await refused(/has no slots: there is nothing to take over/, 'failover', name(a), '--yes')
    t.match(await runCluster(t, env, 'remove', name(a), '--yes'), { status: 0 })
    await refused(
      /no other master to take its slots: it is the last shard/,
      'drain',
      name(b),
      '--yes'
    )
  }
)

t.test('a target that dies before the first slot moves is named in a sentence', async t => {
  const cluster = await startCluster(t, { replicas: 0 })
  const { admin, map } = await look(t, cluster)
  const [source, target] = [at(map.holdings, 0), at(map.holdings, 1)]
  const port = map.nodes.get(target.id)?.reachable.port
  const askAll = admin.askAll.bind(admin)
  let asked = 0
  admin.askAll = async (...question) => {
    if (asked++ === 0) await cluster.nodes.find(node => node.port === port)?.kill('SIGKILL')
    return await askAll(...question)
  }
  await t.rejects(moveSlots(admin, planReshard([source], target, [0])), {
    name: 'Refusal',
    message: new RegExp(
      `^No slot was moved, because a node does not answer\\. (The connection to 127\\.0\\.0\\.1:${port} broke|No connection to 127\\.0\\.0\\.1:${port}): .+\\.$`
    )
  })
  t.ok(asked > 0, 'the target did die in between')
})

t.test('nodes that are silent for a moment, as on a busy machine, are asked again', async t => {
  const cluster = await startCluster(t, { shards: 1, replicas: 0 })
  const node = at(cluster.nodes, 0)
  const target = redisTarget(cluster.urls)
  await node.kill('SIGSTOP')
  const woken = sleep(1500).then(() => node.kill('SIGCONT')) // one look takes 1 s
  const admin = await Admin.connect(target)
  admin.close()
  await woken

  await node.kill('SIGSTOP')
  const begun = performance.now()
  await t.rejects(Admin.connect(target), { name: 'Refusal', message: /^No Redis Cluster answers/ })
  t.ok(performance.now() - begun < 10_000, 'silence is not waited for without end')
  await node.kill('SIGCONT')
})

t.test('a command ends in peace when nobody reads its output any more', { skip }, async t => {
  const cluster = await startCluster(t, { shards: 1, replicas: 0 })
  const command = new ClusterCommand(t, envOf(cluster), 'status')
  command.closeOutput()
  t.equal(await command.status(), 0, command.errors)
  t.equal(command.errors, '')
})

t.test('an unhealthy cluster is reported, and no slot is moved', { skip }, async t => {
  const cluster = await startCluster(t, { shards: 3, replicas: 0, nodeTimeoutMs: 1000 })
  const [, second, third] = cluster.nodes
  const env = { REDIS_NODES: at(cluster.urls, 0) }
  await third?.kill('SIGKILL')
  const drain = await runCluster(t, env, 'drain', String(second?.port), '--yes')
  t.match(drain, {
    status: 1,
    errors: new RegExp(
      `not healthy, so nothing was changed:\n  Master 127\\.0\\.0\\.1:${third?.port} .*which owns slots 10923-16383`
    )
  })
  t.match(await runCluster(t, env, 'status'), { status: 1, output: 'NOT HEALTHY' })
  await third?.start()
  await until('the cluster is whole', async () => (await readStatus(t, env)).isHealthy, 60_000)
  t.match(await runCluster(t, env, 'drain', String(second?.port), ...FULL_SPEED), { status: 0 })
})

t.test('slots move between nodes with user and password', { skip }, async t => {
  const cluster = await startCluster(t, { shards: 2, replicas: 0 })
  const { admin, map } = await look(t, cluster)
  await admin.ask(at(map.masters, 0), 'SET', `{${tagsOf(map, at(map.masters, 0), 1)[0]}}`, 'kept')
  for (const node of map.masters) {
    await admin.askAll(node, [
      ['ACL', 'SETUSER', 'chat', 'on', '>s3cret:/@', '~*', '&*', '+@all'],
      ['ACL', 'SETUSER', 'default', 'off']
    ])
  }
  admin.close()
  const env = {
    REDIS_NODES: cluster.urls
      .map(url => url.replace('://', `://chat:${encodeURIComponent('s3cret:/@')}@`))
      .join(',')
  }
  const drained = await runCluster(
    t,
    env,
    'drain',
    String(at(map.masters, 0).reachable.port),
    ...FULL_SPEED
  )
  t.match(drained, { status: 0, output: /Moved 8,192 of 8,192 slots, 1 keys/ }, drained.errors)
  t.notMatch(drained.output + drained.errors, 's3cret')
  const wrong = await runCluster(
    t,
    { REDIS_NODES: env.REDIS_NODES.replaceAll('s3cret', 'wrong') },
    'status'
  )
  t.match(wrong, { status: 1, errors: /WRONGPASS/ })
})

t.test(
  'a move to a master that already has some of the slots, and one from the wrong place',
  { skip },
  async t => {
    const cluster = await startCluster(t, { shards: 2, replicas: 0 })
    const { admin, map } = await look(t, cluster)
    const [a, b] = map.holdings
    if (a === undefined || b === undefined) throw new Error('two masters are needed')
    const moves = planReshard([a], b, [0, 1, 2])
    t.match(await moveSlots(admin, moves, { speed: 100 }), { isComplete: true, slotsDone: 3 })
    t.match(
      await moveSlots(admin, moves, { speed: 100 }),
      { isComplete: true, slotsDone: 3 },
      'repeated, there is nothing left to do'
    )
    await t.rejects(moveSlots(admin, [{ slot: 5, from: 'nobody', to: b.id }]), { name: 'Refusal' })
    await t.rejects(moveSlots(admin, [{ slot: 3, from: a.id, to: 'nobody' }]), { name: 'Refusal' })
    const aborted = AbortSignal.abort()
    t.match(await moveSlots(admin, planReshard([a], b, [5, 6]), { signal: aborted }), {
      isComplete: false,
      slotsDone: 0,
      rest: { length: 2 }
    })
  }
)

async function look(t: Test, cluster: EmbeddedCluster): Promise<{ admin: Admin; map: ClusterMap }> {
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  return { admin, map: await admin.look() }
}

async function readStatus(t: Test, env: Env): Promise<Status> {
  return JSON.parse((await runCluster(t, env, 'status', '--json')).output)
}

// Every master has keys of its own slots only.
async function keysAreAtTheirOwners(t: Test, cluster: EmbeddedCluster): Promise<void> {
  const { admin, map } = await look(t, cluster)
  for (const master of map.masters) {
    const counts = await countAllKeys(admin, master, map)
    t.same(
      counts.flatMap((count, slot) => (count > 0 && map.ownerOf(slot) !== master.id ? [slot] : [])),
      []
    )
  }
}

// Hash tags of different slots that a master owns.
function tagsOf(map: ClusterMap, owner: MapNode, count: number): string[] {
  const tags = new Map<number, string>()
  for (let index = 0; tags.size < count; index++) {
    const slot = slotOf(`{t${index}}`)
    if (map.ownerOf(slot) === owner.id && !tags.has(slot)) tags.set(slot, `t${index}`)
  }
  return [...tags.values()]
}

async function migrate(
  admin: Admin,
  from: MapNode,
  to: MapNode,
  keys: readonly string[]
): Promise<void> {
  await admin.ask(
    from,
    'MIGRATE',
    to.address.host,
    String(to.address.port),
    '',
    '0',
    '1000',
    'KEYS',
    ...keys
  )
}

function folders(dataDir: string): string[] {
  const manifest: { nodes: Array<{ name: string }> } = JSON.parse(
    readFileSync(join(dataDir, 'cluster.json'), 'utf8')
  )
  return manifest.nodes.map(({ name }) => name)
}

function envOf(cluster: EmbeddedCluster): { REDIS_NODES: string } {
  return { REDIS_NODES: cluster.urls.join(',') }
}

function at<T>(list: readonly T[], index: number): T {
  const one = list[index]
  if (one === undefined) throw new Error(`There is no ${index}`)
  return one
}

/** The command dies at its `at`-th request of these words to a node, before or after it is sent. */
type Death = {
  readonly words: readonly string[]
  readonly at: number
  readonly isSent: boolean
}

const addDeaths: readonly Death[] = [
  { words: ['CLUSTER', 'MEET'], at: 1, isSent: true },
  { words: ['CLUSTER', 'REPLICATE'], at: 1, isSent: false },
  { words: ['CLUSTER', 'REPLICATE'], at: 1, isSent: true }
]
const removeDeaths: readonly Death[] = [
  { words: ['CLUSTER', 'FORGET'], at: 1, isSent: true },
  { words: ['CLUSTER', 'RESET'], at: 1, isSent: false },
  { words: ['CLUSTER', 'RESET'], at: 1, isSent: true }
]

t.test(
  'an add or a remove that dies at any step is completed by the same command',
  { skip },
  async t => {
    const dataDir = temporaryDir(t)
    const cluster = await EmbeddedCluster.start({ dataDir, shards: 1, replicas: 0 })
    t.teardown(() => cluster.stop())
    const env = { DATA_DIR: dataDir }
    const dies = async (
      { words, at, isSent }: Death,
      run: (session: Session) => Promise<void>
    ): Promise<void> => {
      const session = await Session.open(readConfig(env), SILENT)
      const { admin } = session
      const ask = admin.ask.bind(admin)
      let count = 0
      admin.ask = async (node, ...sent) => {
        const isIt = words.every((word, index) => sent[index] === word) && ++count === at
        const answer = !isIt || isSent ? await ask(node, ...sent) : undefined
        if (isIt) throw new Refusal('The command has died.')
        return answer ?? null
      }
      session.say = () => undefined
      try {
        await t.rejects(run(session), { message: 'The command has died.' })
      } finally {
        session.close()
      }
    }
    const nodes = async (): Promise<number> => {
      const { map } = await look(t, cluster)
      t.same(map.faults, [])
      return map.nodes.size
    }
    for (const [index, death] of addDeaths.entries()) {
      const isSame = { name: 'add', addresses: [], replicas: 1, replicaOf: undefined } as const
      await dies(death, session => runAdd(session, isSame))
      const added = await runCluster(t, env, 'add', '--yes')
      t.match(added, { status: 0 }, added.errors)
      t.equal(
        folders(dataDir).length,
        3,
        `died ${death.isSent ? 'after' : 'before'} ${death.words.join(' ')}`
      )
      t.equal(await nodes(), 3)
      const shards = (await readStatus(t, env)).shards
      const { master } = at(shards, 1)
      t.equal(at(shards, 1).replicas.length, 1)
      const removal = { name: 'remove', node: master.address, isKeepingReplicas: false } as const
      await dies(at(removeDeaths, index), session => runRemove(session, removal))
      const removed = await runCluster(t, env, 'remove', master.address, '--yes')
      t.match(removed, { status: 0 }, removed.errors)
      t.equal(await nodes(), 1)
      t.equal(folders(dataDir).length, 1)
    }

    // The next one is another shard, not what the last one has left.
    t.match(await runCluster(t, env, 'add', '--replicas', '0', '--yes'), { status: 0 })
    t.match(await runCluster(t, env, 'add', '--replicas', '0', '--yes'), { status: 0 })
    t.equal(await nodes(), 3)
  }
)
