// The Compose file as it is, on a real Docker engine: it comes up, and what breaks or is made anew under it loses nothing.
// Traffic goes through nginx from a container beside it, as published ports may be out of reach from here. The tests share one
// project and follow each other. Without an engine they are skipped, and say why.
import t, { type Test } from 'tap'
import { until } from '../support/until.js'
import { docker, isAvailable, NODES, Project, whyNot } from './support/engine.js'
import type { Report } from './support/traffic.js'

const BASE = process.env['NODE_IMAGE'] ?? 'node:24-bookworm-slim'
const REDIS = process.env['REDIS_IMAGE'] ?? 'redis:8.2-bookworm'
const REDIS_BEFORE = process.env['REDIS_IMAGE_BEFORE'] ?? 'redis:7.4-bookworm'
const NGINX = process.env['NGINX_IMAGE'] ?? 'nginx:1.30-trixie'
const IMAGE_BYTES_MAX = 30 * 1024 * 1024

const reason = whyNot([BASE, REDIS, NGINX])
if (reason !== undefined) {
  t.comment(`Skipped: ${reason}`)
  t.test('the Compose file on a real Docker engine', { skip: reason }, async () => undefined)
} else {
  const old = isAvailable(REDIS_BEFORE) ? REDIS_BEFORE : REDIS
  const project = new Project(t, { REDIS_IMAGE: old, WAIT_S: '20' })
  /** What was acknowledged so far, by room. */
  const rooms = new Map<string, number>()

  const faultless = (t: Test, report: Report): void => {
    t.same(report.failures, [], 'no POST failed')
    t.same(report.missing, [], 'every reader has what was acknowledged')
    for (const { faults } of report.readers) t.same(faults, [], 'no hole, no repetition, no status that ends an EventSource')
    t.ok(report.posted > 0, `${report.posted} messages, the slowest in ${report.slowestMs} ms`)
    t.comment(`${report.posted} messages, the slowest in ${report.slowestMs} ms; reconnects: ${report.readers.map(({ reconnects }) => reconnects).join(', ')}`)
  }

  // Traffic while something happens; what was acknowledged is looked for again later.
  const during = async (t: Test, room: string, isPersistent: boolean, act: () => Promise<void>): Promise<void> => {
    const end = project.traffic({ room, writers: 4, readers: 4, pauseMs: 20, isPersistent })
    await until('the traffic flows', async () => (await project.read(room)).length > 20, 30_000)
    try {
      await act()
    } finally {
      const report = await end()
      rooms.set(room, report.posted)
      faultless(t, report)
    }
  }

  const allThere = async (t: Test): Promise<void> => {
    for (const [room, posted] of rooms) {
      const seqs = await project.read(room)
      t.ok(seqs.length >= posted, `${room}: ${seqs.length} messages, ${posted} were acknowledged`)
      t.ok(seqs.every((seq, index) => seq === index + 1), `${room} has no hole`)
    }
  }

  const volumes = async (): Promise<string[]> => (await docker(['volume', 'ls', '--quiet'])).stdout.trim().split('\n').sort()

  t.test('it is built and comes up, and the image adds at most 30 MB to its base', async t => {
    const { status, output } = await project.compose('up', '--build', '--detach', '--wait', '--wait-timeout', '300')
    t.equal(status, 0, output)
    const size = async (image: string): Promise<number> => Number((await docker(['image', 'inspect', '--format', '{{.Size}}', image])).stdout)
    const added = await size(project.image) - await size(BASE)
    t.ok(added > 0 && added <= IMAGE_BYTES_MAX, `${Math.round(added / 1024 / 1024)} MB`)
    t.comment(`the image adds ${(added / 1024 / 1024).toFixed(1)} MB; Redis is ${old}`)
  })

  t.test('messages are written and followed through nginx, and what is not for everybody is not there', async t => {
    await during(t, 'first', false, async () => {})
    const script = `for (const path of ['/metrics', '/cluster', '/rooms/first/blocks', '/rooms/first/messages', '/chat']) {
      console.log((await fetch('http://nginx:8080' + path)).status)
    }`
    const answer = await project.succeed('exec', '-T', 'service-1', 'node', '--input-type=module', '--eval', script)
    t.same(answer.trim().split('\n'), ['404', '404', '404', '200', '200'])
  })

  t.test('a second `up` changes nothing and leaves no volume behind', async t => {
    const before = await volumes()
    const started = (await project.succeed('ps', '--format', '{{.Name}} {{.CreatedAt}}')).split('\n').sort()
    await project.succeed('up', '--detach', '--wait', '--wait-timeout', '120')
    t.same(await volumes(), before)
    t.same((await project.succeed('ps', '--format', '{{.Name}} {{.CreatedAt}}')).split('\n').sort(), started)
  })

  t.test('the containers run without root, capabilities, a writable root or endless logs, and Redis with limits', async t => {
    const ids = (await project.succeed('ps', '--quiet')).trim().split('\n')
    const found = JSON.parse((await docker(['inspect', ...ids])).stdout) as Inspected[]
    for (const { Name, Config, HostConfig } of found) {
      t.ok(HostConfig.ReadonlyRootfs, `${Name}: read-only`)
      t.same(HostConfig.CapDrop, ['ALL'], `${Name}: no capabilities`)
      t.match(HostConfig.SecurityOpt, ['no-new-privileges:true'], Name)
      t.match(Config.User, /^(node|999|101:101)$/, `${Name}: ${Config.User}`)
      t.ok(HostConfig.Memory > 0, `${Name}: memory is limited`)
      t.match(HostConfig.LogConfig.Config, { 'max-size': '10m' }, `${Name}: logs are rotated`)
    }
    t.equal((await project.redis('redis-1', 'config', 'get', 'maxmemory-policy')).split('\n')[1], 'noeviction')
    const { output } = await project.compose('exec', '-T', 'redis-1', 'redis-cli', 'ping')
    t.match(output, /NOAUTH/, 'without the password Redis says nothing')
    t.equal((await project.compose('exec', '-T', 'redis-1', 'sh', '/etc/dialogs/check-node.sh')).status, 0)
    t.not((await project.compose('exec', '-T', '-e', 'PASSWORD_FILE=/etc/dialogs/redis.conf', 'redis-1', 'sh', '/etc/dialogs/check-node.sh')).status, 0, 'the health check sees an error reply')
  })

  t.test('each service is made anew under load: no POST fails, no frame is missing', async t => {
    await during(t, 'recreate', false, async () => {
      for (const service of ['service-1', 'service-2']) await project.recreate(service)
    })
  })

  t.test('nginx stops within its time although streams are open', async t => {
    const end = project.traffic({ room: 'nginx', writers: 1, readers: 8, pauseMs: 50, isPersistent: true })
    await until('the traffic flows', async () => (await project.read('nginx')).length > 5, 30_000)
    const begun = performance.now()
    await project.succeed('stop', 'nginx')
    const seconds = (performance.now() - begun) / 1000
    t.ok(seconds < 10, `${seconds.toFixed(1)} s`)
    t.equal((await docker(['inspect', '--format', '{{.State.ExitCode}}', `${project.name}-nginx-1`])).stdout.trim(), '0', 'not killed')
    await project.succeed('start', 'nginx')
    faultless(t, await end())
  })

  for (const [what, begin, finish] of [['stopped', 'stop', 'start'], ['frozen', 'pause', 'unpause']] as const) {
    t.test(`a master is ${what} and comes back under load: nothing acknowledged is lost`, async t => {
      const [master = ''] = await project.masters()
      await during(t, what, true, async () => {
        await project.succeed(begin, master)
        await until('its replica has taken over', async () => (await project.masters()).filter(name => name !== master).length === 3, 30_000)
        await project.succeed(finish, master)
        await until('it is a replica', async () => (await project.redis(master, 'role').catch(() => '')).startsWith('slave'), 60_000)
        await until('it has its copy', async () => (await project.redis(master, 'info', 'replication')).includes('master_link_status:up'), 60_000)
      })
      await allThere(t)
    })
  }

  t.test('Redis is upgraded node by node under load', async t => {
    await during(t, 'upgrade', true, async () => {
      const masters = await project.masters()
      for (const node of NODES.filter(name => !masters.includes(name))) await upgrade(node)
      for (const node of masters) {
        await project.succeed('exec', '-T', node, 'sh', '/etc/dialogs/hand-over.sh')
        t.match(await project.redis(node, 'role'), /^slave/)
        await upgrade(node)
      }
    })
    const version = (await project.redis('redis-1', 'info', 'server')).match(/(?:redis|valkey)_version:\S+/)?.[0]
    t.comment(`from ${old} to ${REDIS}: ${version}`)
    await allThere(t)

    async function upgrade (node: string): Promise<void> {
      await project.recreate(node, { REDIS_IMAGE: REDIS })
      await until('it has its copy', async () => (await project.redis(node, 'info', 'replication')).includes('master_link_status:up'), 60_000)
    }
  })

  t.test('all of it is stopped and started again, under the same addresses and under others', async t => {
    for (const moves of [false, true]) {
      await project.succeed('down')
      if (moves) project.move()
      await project.succeed('up', '--detach', '--wait', '--wait-timeout', '300')
      await allThere(t)
    }
  })

  t.test('the volume of a node is lost while the others run: it refuses, and comes back as a replica', async t => {
    const [lost = '', second = ''] = await project.masters()
    const replica = NODES.find(name => name !== lost && name !== second) ?? ''
    for (const node of [lost, replica]) {
      await during(t, `lost-${node}`, true, async () => {
        await loseVolume(node)
        await project.compose('up', '--detach', '--no-deps', node)
        await until('it says why and what to do', async () => (await project.succeed('logs', node)).includes(`${node} refuses to start`), 30_000)
        t.match(await project.succeed('logs', node), new RegExp(`replace ${node}`))
        await project.succeed('run', '--rm', '--no-deps', 'redis-cluster', 'replace', node)
        t.match(await project.redis(node, 'role'), /^slave/)
      })
    }
    await allThere(t)
  })

  t.test('the volume of a node is lost while everything is down: nothing is lost, or the cluster refuses and says what to do', async t => {
    for (const node of NODES) {
      const wasMaster = (await project.masters()).includes(node)
      await project.succeed('down')
      await docker(['volume', 'rm', `${project.name}_${node}`])
      const { status, output } = await project.compose('up', '--detach')
      const said = (await project.compose('logs', 'redis-cluster', node)).output
      t.match(said, new RegExp(`${node} refuses to start`))
      t.match(said, new RegExp(`replace ${node}`))
      if (wasMaster) t.not(status, 0, 'a shard without a master: the service does not start')
      else t.equal(status, 0, output)
      const { status: replaced, output: how } = await project.compose('run', '--rm', '--no-deps', 'redis-cluster', 'replace', node)
      t.equal(replaced, 0, how)
      await project.succeed('up', '--detach', '--wait', '--wait-timeout', '300')
      await allThere(t)
    }
  })

  async function loseVolume (node: string): Promise<void> {
    await project.succeed('rm', '--stop', '--force', node)
    const { status, output } = await docker(['volume', 'rm', `${project.name}_${node}`])
    if (status !== 0) throw new Error(output)
  }
}

type Inspected = {
  readonly Name: string
  readonly Config: { readonly User: string }
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean
    readonly CapDrop: readonly string[]
    readonly SecurityOpt: readonly string[]
    readonly Memory: number
    readonly LogConfig: { readonly Config: Readonly<Record<string, string>> }
  }
}
