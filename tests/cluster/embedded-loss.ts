// The embedded cluster when a node's files are missing, cut off or damaged, and when the disk is
// full. It says so in one line and changes nothing, and nothing that was acknowledged is lost
// silently.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { EmbeddedCluster } from '../../src/embedded/cluster.js'
import { readManifest } from '../../src/embedded/manifest.js'
import { bootOf, startOf } from '../../src/embedded/processes.js'
import { freshRoom, post, postMany, readAll, request } from '../support/client.js'
import { temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { until } from '../support/until.js'
import { program } from '../support/program.js'

const ACCEPT = program('cli/accept-loss')
const ROOMS = 12
const MESSAGES = 5

const rooms = Array.from({ length: ROOMS }, freshRoom)

// Created once, and copied for each test.
const filled = temporaryDir(t)
{
  const service = await startService(t, { env: { DATA_DIR: filled } })
  t.teardown(() => service.stop())
  for (const room of rooms) await postMany(service.url, room, 'ann', MESSAGES)
  await service.stop()
}

/** A copy of the data, and a service for it that has not been started. */
function copy(t: Test): { dataDir: string; service: Service } {
  const dataDir = temporaryDir(t)
  cpSync(filled, dataDir, { recursive: true })
  const service = new Service({ env: { DATA_DIR: dataDir, DRAIN_MS: '0' } })
  t.teardown(() => service.stop())
  return { dataDir, service }
}

async function lengths(service: Service): Promise<number[]> {
  return await Promise.all(rooms.map(async room => (await readAll(service.url, room)).length))
}

const all = rooms.map(() => MESSAGES)

async function acceptLoss(dataDir: string): Promise<{ status: unknown; output: string }> {
  const child = spawn(process.execPath, [ACCEPT, '--yes'], {
    env: { PATH: process.env['PATH'], DATA_DIR: dataDir },
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

const aof = (dir: string): string => join(dir, 'appendonlydir')
const manifestOf = (dir: string): string => join(aof(dir), 'appendonly.aof.manifest')

/** The append-only file that is being written to. */
function tailOf(dir: string): string {
  const name = readdirSync(aof(dir)).find(file => file.endsWith('.incr.aof'))
  return join(aof(dir), name ?? '')
}

t.test(
  'a node that has less than before is refused in one line, and nothing is changed',
  async t => {
    const { dataDir, service } = copy(t)
    const backup = temporaryDir(t)
    cpSync(dataDir, backup, { recursive: true })
    const dir = join(dataDir, 'node-2')
    const conf = join(dir, 'nodes.conf')
    const text = readFileSync(conf, 'utf8')
    const size = readFileSync(tailOf(dir)).length
    const tail = basename(tailOf(dir))
    const faults: ReadonlyArray<readonly [what: string, harm: () => void, fault: RegExp]> = [
      ['its folder', () => rmSync(dir, { recursive: true }), /its folder is missing/],
      ['nodes.conf', () => rmSync(conf), /its nodes\.conf is missing/],
      ['the content of nodes.conf', () => writeFileSync(conf, ''), /its nodes\.conf is damaged/],
      [
        'the end of nodes.conf',
        () => writeFileSync(conf, text.slice(0, text.length - 60)),
        /its nodes\.conf is damaged/
      ],
      [
        "the node's own line",
        () => writeFileSync(conf, text.replace(/^.*myself.*\n/m, '')),
        /its nodes\.conf is damaged/
      ],
      [
        'the append-only files',
        () => rmSync(aof(dir), { recursive: true }),
        /appendonly\.aof\.manifest is missing or damaged/
      ],
      ['one of them', () => rmSync(tailOf(dir)), /appendonly\.aof\.1\.incr\.aof is missing/],
      [
        'a byte of it',
        () => truncateSync(tailOf(dir), size - 1),
        new RegExp(`${tail}.* has ${size - 1} bytes and had ${size}`)
      ]
    ]
    for (const [what, harm, fault] of faults) {
      harm()
      const before = readdirSync(dataDir, { recursive: true })
      const error: unknown = await EmbeddedCluster.start({ dataDir }).then(
        () => undefined,
        (error: unknown) => error
      )
      t.match(error, { message: fault }, `without ${what}`)
      t.match(
        error,
        {
          message:
            /^\S+ has lost data of node-2 \([^\n]+\): put it back from a backup, or, if it is gone for good, replace it with the data of other nodes: npm run accept-loss -- --yes$/
        },
        'one line says what to do'
      )
      t.same(readdirSync(dataDir, { recursive: true }), before)
      rmSync(dir, { recursive: true, force: true })
      cpSync(join(filled, 'node-2'), dir, { recursive: true })
    }
    await service.start()
    t.same(await lengths(service), all, 'after they are put back, everything is there')
  }
)

t.test(
  'a lost master and a lost replica get the data of the other nodes, and nothing is missing',
  async t => {
    const { dataDir, service } = copy(t)
    rmSync(join(dataDir, 'node-1'), { recursive: true })
    rmSync(manifestOf(join(dataDir, 'node-5')))
    const accepted = await acceptLoss(dataDir)
    t.match(accepted, {
      status: 0,
      output: /node-1 continues with the copy of node-4\nnode-5 will copy its data from its master/
    })
    t.ok(existsSync(join(dataDir, 'node-5.lost-1', 'nodes.conf')), 'the remains are kept')
    await service.start()
    t.same(await lengths(service), all)
    for (const room of rooms) {
      t.match(await post(service.url, room, 'ann', 'next'), {
        status: 201,
        body: { seq: MESSAGES + 1 }
      })
    }
    const { body } = await request(`${service.url}/cluster`)
    t.match(body, { shards: { length: 3 } })
    await service.stop()
    await service.start()
    t.same(
      await lengths(service),
      rooms.map(() => MESSAGES + 1),
      'the same after a restart'
    )
  }
)

t.test('a shard that is lost with its copy starts empty, and the others continue', async t => {
  const { dataDir, service } = copy(t)
  for (const node of ['node-2', 'node-5']) rmSync(join(dataDir, node), { recursive: true })
  await t.rejects(
    service.start(),
    /cannot start: \S+ has lost data of node-2 \([^\n]*\), node-5 \([^\n]*\n$/
  )
  t.match(await acceptLoss(dataDir), {
    status: 0,
    output: /No other node has a copy of node-2: it continues with what is left/
  })
  await service.start()
  const found = await Promise.allSettled(rooms.map(room => post(service.url, room, 'ann', 'next')))
  const seqs = found.map(answer => answer.status === 'fulfilled' && answer.value.body['seq'])
  t.ok(seqs.includes(MESSAGES + 1), 'the rooms of the other shards are there')
  t.ok(
    seqs.every(seq => seq === 1 || seq === MESSAGES + 1),
    String(seqs)
  )
})

t.test('a damaged append-only file is refused, with what to do about it', async t => {
  const { dataDir, service } = copy(t)
  const tail = tailOf(join(dataDir, 'node-3'))
  const content = readFileSync(tail)
  content.fill('x', 100, 200)
  writeFileSync(tail, content)
  await t.rejects(
    service.start(),
    /redis-server on port \d+ did not start: .*If files in \S+node-3 are damaged, put back a backup, or move the folder away and replace it .* npm run accept-loss -- --yes\n$/
  )
  renameSync(join(dataDir, 'node-3'), join(dataDir, 'away'))
  t.match(await acceptLoss(dataDir), { status: 0, output: /node-3 continues with the copy/ })
  await service.start()
  t.same(await lengths(service), all)
})

t.test('a command that a crash has left incomplete is cut off and reported', async t => {
  const { dataDir, service } = copy(t)
  // Long, because the file grows at once if keys have expired in the meantime.
  const torn = `*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9000\r\n${'x'.repeat(5000)}`
  appendFileSync(tailOf(join(dataDir, 'node-1')), torn)
  await service.start()
  t.match(service.output, /Redis cut a torn command of \d+ bytes off the end of \S+node-1/)
  t.same(await lengths(service), all)
})

t.test(
  'after the whole machine stopped, it is said that messages may be missing',
  { skip: bootOf() === '' && 'this system does not say when it was started' },
  async t => {
    const { dataDir, service } = copy(t)
    const owner = join(dataDir, 'owner')
    const timesSaid = (): number => service.output.split('The machine stopped while').length - 1
    await service.start()
    const [before = '', boot] = readFileSync(owner, 'utf8').split('\n')
    t.equal(boot, bootOf())
    await service.kill()
    await service.start()
    t.equal(timesSaid(), 0, 'only the service was killed')
    await service.stop()
    t.notOk(existsSync(owner))

    // A living process has the number and the start time of the one before.
    writeFileSync(owner, `${process.pid} ${startOf(process.pid)}\nanother boot`)
    await service.start()
    t.equal(timesSaid(), 1)
    t.same(await lengths(service), all)
    await service.stop()

    writeFileSync(owner, before) // as an older version wrote it
    await service.start()
    t.equal(timesSaid(), 1, 'it is unknown')
  }
)

const isRoot = process.getuid?.() === 0 && process.platform === 'linux'
t.test(
  'on a full disk nothing is acknowledged that is not stored, and writing continues when there is room',
  { skip: isRoot ? false : 'mounting a small disk needs root on Linux' },
  async t => {
    const dataDir = temporaryDir(t)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dataDir], { stdio: 'pipe' })
    } catch {
      t.comment('skipped: this machine does not allow mounting')
      return
    }
    t.teardown(() => execFileSync('umount', ['--lazy', dataDir]))
    const service = await startService(t, { env: { DATA_DIR: dataDir } })
    t.teardown(() => service.stop())
    const room = freshRoom()
    await postMany(service.url, room, 'ann', 3)
    const filler = join(dataDir, 'filler')
    try {
      for (let mb = 0; mb < 30; mb++) appendFileSync(filler, Buffer.alloc(1024 * 1024))
    } catch {
      // it is full now
    }
    let acknowledged = 3
    let refusal: unknown
    await until(
      'writing is refused',
      async () => {
        const answer = await post(service.url, room, 'ann', 'x'.repeat(4000))
        if (answer.status === 201) acknowledged++
        else refusal = answer
        return answer.status !== 201
      },
      30_000
    )
    t.match(refusal, { status: 503, body: { code: 'STORE_READ_ONLY' } })
    t.equal((await readAll(service.url, room)).length >= acknowledged, true, 'reading goes on')
    rmSync(filler)
    await until(
      'writing goes on',
      async () => (await post(service.url, room, 'ann', 'room again')).status === 201,
      30_000
    )
    await service.stop()

    try {
      for (let mb = 0; mb < 30; mb++) appendFileSync(filler, Buffer.alloc(1024 * 1024))
    } catch {
      // it is full now
    }
    await t.rejects(
      service.start(),
      /cannot start: There is no space left for \S+: make room and start again\n$/
    )
    rmSync(filler)
    await service.start()
    t.ok((await readAll(service.url, room)).length > acknowledged, 'everything is there')
  }
)

t.test('the loss of what was written since the start is noticed even after a crash', async t => {
  const { dataDir, service } = copy(t)
  await service.start()
  const names = readManifest(dataDir)?.nodes.map(({ name }) => name) ?? []
  const sizeOf = (name: string): number => readFileSync(tailOf(join(dataDir, name))).length
  const recorded = (file: string, name: string): number => {
    if (!existsSync(join(dataDir, file))) return 0
    const { nodes, ...notes } = JSON.parse(readFileSync(join(dataDir, file), 'utf8'))
    const data = nodes?.find((node: { name: string }) => node.name === name).data ?? notes[name]
    return data.files[basename(tailOf(join(dataDir, name)))] ?? 0
  }
  await postMany(service.url, rooms[0] ?? '', 'ann', 20)
  const written = new Map(names.map(name => [name, sizeOf(name)]))
  await until('everything that was written is recorded', () =>
    names.every(name => recorded('sizes.json', name) >= (written.get(name) ?? Infinity))
  )
  await service.kill()
  for (const name of names) {
    process.kill(Number(readFileSync(join(dataDir, name, 'redis.pid'), 'utf8')), 'SIGKILL')
  }
  const grown = (name: string): number =>
    recorded('sizes.json', name) - recorded('cluster.json', name)
  const [name = ''] = names
    .filter(name => recorded('cluster.json', name) > 0)
    .sort((a, b) => grown(b) - grown(a))
  const [size, before] = [recorded('sizes.json', name), recorded('cluster.json', name)]
  t.ok(size > before)
  // A place where a command ends: Redis considers the file complete.
  truncateSync(tailOf(join(dataDir, name)), before)
  for (const start of ['the first start', 'the next one']) {
    await t.rejects(service.start(), start)
    t.match(service.errors, `${name} (appendonlydir/`)
    t.match(service.errors, `has ${before} bytes and had ${size}`)
  }
  t.match(await acceptLoss(dataDir), { status: 0 })
  await service.start()
  t.same(
    (await lengths(service)).reduce((sum, length) => sum + length),
    ROOMS * MESSAGES + 20
  )
})

t.test("the data of an older version's cluster is recorded from its next start on", async t => {
  const dataDir = temporaryDir(t)
  const first = await EmbeddedCluster.start({ dataDir, shards: 1, replicas: 0 })
  await first.stop()
  const file = join(dataDir, 'cluster.json')
  const { isComplete, nodes } = readManifest(dataDir) ?? { isComplete: false, nodes: [] }
  const bare = nodes.map(({ name, port }) => ({ name, port }))
  writeFileSync(file, JSON.stringify({ isComplete, nodes: bare }))
  const second = await EmbeddedCluster.start({ dataDir })
  await second.stop()
  t.match(readManifest(dataDir)?.nodes, { length: 1, 0: { data: { id: /^\w{40}$/ } } })
})
