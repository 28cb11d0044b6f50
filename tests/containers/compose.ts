// The Compose file on a real Docker engine: it comes up, and nothing is lost whatever breaks or is
// replaced. Traffic goes through nginx from a container next to it, because published ports may be
// unreachable from here. The tests share one project, and each continues where the last one ended.
// Without an engine they are skipped and say why.
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
if (reason === undefined) {
  testProject()
} else {
  t.comment(`Skipped: ${reason}`)
  t.test('the Compose file on a real Docker engine', { skip: reason }, async () => undefined)
}

function testProject(): void {
  const old = isAvailable(REDIS_BEFORE) ? REDIS_BEFORE : REDIS
  const project = new Project(t, { REDIS_IMAGE: old, WAIT_S: '12' })
  /** How many messages were acknowledged so far, by room. */
  const rooms = new Map<string, number>()

  /** Runs traffic while something happens, and checks that nobody noticed. */
  const during = async (
    t: Test,
    room: string,
    isPersistent: boolean,
    act: () => Promise<void>
  ): Promise<void> => {
    const end = project.traffic({ room, writers: 4, readers: 4, pauseMs: 20, isPersistent })
    await until('traffic flows', async () => (await project.read(room)).length > 20, 30_000)
    try {
      await act()
    } finally {
      const report = await end()
      rooms.set(room, report.posted)
      checkReport(t, report)
    }
  }

  /** Checks that every acknowledged message of every room is still there. */
  const checkRooms = async (t: Test): Promise<void> => {
    for (const [room, posted] of rooms) {
      const seqs = await project.read(room)
      t.ok(seqs.length >= posted, `${room}: ${seqs.length} messages, ${posted} acknowledged`)
      t.ok(
        seqs.every((seq, index) => seq === index + 1),
        `${room} has no hole`
      )
    }
  }

  t.test('it is built and comes up, and the image adds at most 30 MB to its base', async t => {
    const { status, output } = await project.up('--build')
    t.equal(status, 0, output)
    const size = async (image: string): Promise<number> => {
      return Number((await docker(['image', 'inspect', '--format', '{{.Size}}', image])).stdout)
    }
    const added = (await size(project.image)) - (await size(BASE))
    t.ok(added > 0 && added <= IMAGE_BYTES_MAX, `${added} bytes`)
    t.comment(`The image adds ${(added / 1024 / 1024).toFixed(1)} MB; Redis is ${old}`)
  })

  t.test('nginx passes messages and streams, and hides what only operators need', async t => {
    await during(t, 'first', false, async () => {})
    const paths = ['/metrics', '/cluster', '/rooms/first/blocks', '/rooms/first/messages', '/chat']
    const script = `for (const path of ${JSON.stringify(paths)}) {
      console.log((await fetch('http://nginx:8080' + path)).status)
    }`
    const answer = await project.evaluate(script)
    t.same(answer.trim().split('\n'), ['404', '404', '404', '200', '200'])
  })

  t.test('a second `up` changes nothing and leaves no volume behind', async t => {
    const look = async (): Promise<string[]> => [
      ...(await docker(['volume', 'ls', '--quiet'])).stdout.split('\n').sort(),
      ...(await project.succeed('ps', '--format', '{{.Name}} {{.CreatedAt}}')).split('\n').sort()
    ]
    const before = await look()
    await project.up()
    t.same(await look(), before)
  })

  t.test('every container is locked down and limited', async t => {
    const ids = (await project.succeed('ps', '--quiet')).trim().split('\n')
    const found = JSON.parse((await docker(['inspect', ...ids])).stdout) as Inspected[]
    t.equal(found.length, 9, 'six nodes, two services, nginx')
    for (const { Name, Config, HostConfig } of found) {
      t.ok(HostConfig.ReadonlyRootfs, `${Name}: its root file system is read-only`)
      t.same(HostConfig.CapDrop, ['ALL'], `${Name}: it has no capabilities`)
      t.match(HostConfig.SecurityOpt, ['no-new-privileges:true'], Name)
      t.match(Config.User, /^(node|999|101:101)$/, `${Name}: it is not root`)
      t.ok(HostConfig.Memory > 0, `${Name}: its memory is limited`)
      t.match(HostConfig.LogConfig.Config, { 'max-size': '10m' }, `${Name}: its log is rotated`)
    }
  })

  t.test(
    'Redis asks for a password, never evicts, and its health check reads the reply',
    async t => {
      const policy = await project.redis('redis-1', 'config', 'get', 'maxmemory-policy')
      t.equal(policy.split('\n')[1], 'noeviction')
      t.match(await project.redisWithoutPassword('redis-1', 'ping'), /NOAUTH/)
      const check = ['redis-1', 'sh', '/etc/dialogs/check-node.sh']
      t.equal((await project.compose('exec', '-T', ...check)).status, 0)
      // The wrong password: redis-cli says so and exits with 0.
      const wrong = await project.compose(
        'exec',
        '-T',
        '-e',
        'PASSWORD_FILE=/etc/hostname',
        ...check
      )
      t.not(wrong.status, 0)
    }
  )

  t.test('each service is replaced under load: no POST fails, no frame is missing', async t => {
    await during(t, 'recreate', false, async () => {
      for (const service of ['service-1', 'service-2']) await project.recreate(service)
    })
  })

  t.test('nginx stops in time although streams are open', async t => {
    const end = project.traffic({
      room: 'nginx',
      writers: 1,
      readers: 8,
      pauseMs: 50,
      isPersistent: true
    })
    await until('traffic flows', async () => (await project.read('nginx')).length > 5, 30_000)
    const begun = performance.now()
    await project.succeed('stop', 'nginx')
    const seconds = (performance.now() - begun) / 1000
    t.ok(seconds < 10, `${seconds.toFixed(1)} s`)
    const name = `${project.name}-nginx-1`
    const { stdout } = await docker(['inspect', '--format', '{{.State.ExitCode}}', name])
    t.equal(stdout.trim(), '0', 'it was not killed')
    await project.succeed('start', 'nginx')
    checkReport(t, await end())
  })

  const outages = [
    ['stopped', 'stop', 'start'],
    ['frozen', 'pause', 'unpause']
  ] as const
  for (const [what, begin, finish] of outages) {
    t.test(`a master is ${what} and returns under load: nothing acknowledged is lost`, async t => {
      const [master = ''] = await project.masters()
      await during(t, what, true, async () => {
        await project.succeed(begin, master)
        await until(
          'its replica has taken over',
          async () => {
            return (await project.masters()).filter(name => name !== master).length === 3
          },
          30_000
        )
        await project.succeed(finish, master)
        await until('it has its copy', () => project.hasCopy(master), 60_000)
      })
      await checkRooms(t)
    })
  }

  t.test('Redis is upgraded node by node under load', async t => {
    const upgrade = async (node: string): Promise<void> => {
      await project.recreate(node, { REDIS_IMAGE: REDIS })
      await until('it has its copy', () => project.hasCopy(node), 60_000)
    }
    await during(t, 'upgrade', true, async () => {
      const masters = await project.masters()
      t.equal(masters.length, 3)
      for (const node of NODES.filter(name => !masters.includes(name))) await upgrade(node)
      for (const node of masters) {
        await project.succeed('exec', '-T', node, 'sh', '/etc/dialogs/hand-over.sh')
        t.match(await project.redis(node, 'role'), /^slave/)
        await upgrade(node)
      }
    })
    const info = await project.redis('redis-1', 'info', 'server')
    // Valkey also names the Redis that it is compatible with.
    const version = /valkey_version:\S+/.exec(info) ?? /redis_version:\S+/.exec(info)
    t.comment(`From ${old} to ${REDIS}: ${version?.[0]}`)
    await checkRooms(t)
  })

  t.test(
    'everything is stopped and started again, under the same addresses and under new ones',
    async t => {
      for (const moves of [false, true]) {
        await project.succeed('down')
        if (moves) project.move()
        const { status, output } = await project.up()
        t.equal(status, 0, output)
        await checkRooms(t)
      }
    }
  )

  t.test('a running node loses its volume: it refuses to start, and is replaced', async t => {
    const masters = await project.masters()
    const replica = NODES.find(name => !masters.includes(name)) ?? ''
    for (const node of [masters[0] ?? '', replica]) {
      await during(t, `lost-${node}`, true, async () => {
        await project.succeed('rm', '--stop', '--force', node)
        await project.removeVolume(node)
        await project.compose('up', '--detach', '--no-deps', node)
        const log = (): Promise<string> => project.succeed('logs', node)
        await until('it refuses', async () => (await log()).includes(`${node} refuses`), 30_000)
        t.match(await log(), `replace ${node}`, 'it says what to do')
        await project.succeed('run', '--rm', '--no-deps', 'redis-cluster', 'replace', node)
        t.match(await project.redis(node, 'role'), /^slave/)
      })
    }
    await checkRooms(t)
  })

  t.test(
    'each node in turn loses its volume while everything is down: nothing is lost',
    async t => {
      for (const node of NODES) {
        const wasMaster = (await project.masters()).includes(node)
        await project.succeed('down')
        await project.removeVolume(node)
        const { status, output } = await project.compose('up', '--detach')
        const said = (await project.compose('logs', 'redis-cluster', node)).output
        t.match(said, `${node} refuses to start`)
        t.match(said, `replace ${node}`)
        if (wasMaster) t.not(status, 0, 'a shard has no master, so the service does not start')
        else t.equal(status, 0, output)
        await project.succeed('run', '--rm', '--no-deps', 'redis-cluster', 'replace', node)
        const again = await project.up()
        t.equal(again.status, 0, again.output)
        await checkRooms(t)
      }
    }
  )
}

function checkReport(t: Test, report: Report): void {
  t.same(report.failures, [], 'no POST failed')
  t.same(report.missing, [], 'every reader has what was acknowledged')
  for (const { faults } of report.readers) {
    t.same(faults, [], 'no hole, no repeated frame, no status that ends an EventSource')
  }
  t.ok(report.posted > 0)
  const reconnects = report.readers.map(reader => reader.reconnects).join(', ')
  t.comment(
    `${report.posted} messages, the slowest in ${report.slowestMs} ms; ` +
      `reconnects of readers: ${reconnects}`
  )
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
