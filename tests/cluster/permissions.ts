// What Redis refuses permanently. At start it is found and named in one line; later it leads to a
// 503, and /health/ready says so until it is over. The documented permissions are exactly those
// that the service needs.
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { redisTarget } from '../../src/config/redis-target.js'
import { connect } from '../../src/embedded/connection.js'
import { leastAcl } from '../../src/redis/requirements.js'
import { roomChannel } from '../../src/store/keys.js'
import { REQUIREMENTS } from '../../src/store/requirements.js'
import { freshRoom, post, readAll, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { Service, startService, type ServiceOptions } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { connectTo } from '../support/store.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const least = leastAcl(REQUIREMENTS).split(' ')

async function tellAll(...words: string[]): Promise<unknown[]> {
  return await Promise.all(
    cluster.nodes.map(async node => {
      const client = await connect(node.url)
      try {
        return await client.sendCommand(words)
      } finally {
        await client.disconnect()
      }
    })
  )
}

let users = 0

/**
 * Creates a user with the least permissions, changed by these rules.
 * @returns the options of a service that logs in as that user, and a function that changes the
 * rules
 */
async function userWith(...rules: string[]): Promise<{
  name: string
  options: ServiceOptions
  change: (...rules: string[]) => Promise<unknown>
}> {
  const name = `user-${++users}`
  const change = (...rules: string[]): Promise<unknown> => tellAll('ACL', 'SETUSER', name, ...rules)
  await change('on', '>secret', ...least, ...rules)
  return {
    name,
    options: {
      redisNodes: cluster.urls.map(url => url.replace('redis://', `redis://${name}:secret@`))
    },
    change
  }
}

/** The output of a service that does not start. */
async function refusalOf(t: Test, options: ServiceOptions): Promise<string> {
  const service = new Service(options)
  t.teardown(() => service.end('SIGKILL'))
  await t.rejects(service.start())
  return service.errors
}

/** How often all nodes together received a command or refused it. */
async function callsOf(
  command: string,
  counter: 'calls' | 'rejected_calls' = 'calls'
): Promise<number> {
  const infos = await tellAll('INFO', 'commandstats')
  return infos.reduce<number>(
    (sum, info) =>
      sum +
      Number(
        new RegExp(`^cmdstat_${command.replace('|', '\\|')}:.*\\b${counter}=(\\d+)`, 'm').exec(
          String(info)
        )?.[1] ?? 0
      ),
    0
  )
}

t.test('compose/README.md lists the permissions that the service needs', async t => {
  t.ok(
    readFileSync('compose/README.md', 'utf8').includes(leastAcl(REQUIREMENTS)),
    `it has the line: ${leastAcl(REQUIREMENTS)}`
  )
})

t.test('the whole service works with the least permissions, without a warning', async t => {
  const { options } = await userWith()
  const service = await startService(t, options)
  const { url } = service
  const room = freshRoom()
  const stream = openSse(t, `${url}/rooms/${room}/events`)
  await stream.isLive()
  for (const n of sequence(1, 3)) t.equal((await post(url, room, 'ann', `text ${n}`)).status, 201)
  const keyed = {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'k' },
    body: '{"user":"bob","text":"keyed"}'
  }
  t.equal((await request(`${url}/rooms/${room}/messages`, keyed)).status, 201)
  t.equal((await request(`${url}/rooms/${room}/messages`, keyed)).status, 200)
  await stream.sees('all four', () => stream.seqs.length >= 4)
  t.equal((await readAll(url, room)).length, 4)
  for (const path of [`/rooms/${room}/users`, `/rooms/${room}/blocks`, '/health/ready']) {
    t.equal((await request(`${url}${path}`)).status, 200, path)
  }
  t.match((await request(`${url}/cluster`)).body, {
    shards: { 0: { keys: Number, memoryBytes: Number } }
  })
  t.equal(service.errors, '')
})

t.test(
  'each missing permission is found at start and named, except those that the service can do without',
  async t => {
    const { name, change } = await userWith()
    const attempt = async (...rules: string[]): Promise<string> => {
      await change('reset', 'on', '>secret', ...least, ...rules)
      const { username, password } = redisTarget([`redis://${name}:secret@x`])
      try {
        const connected = await connectTo(t, cluster.urls, {
          username,
          password,
          requirements: REQUIREMENTS
        })
        connected.close()
        return ''
      } catch (error) {
        return `${(error as { code: string }).code} ${String((error as Error).message)}`
      }
    }
    t.equal(await attempt(), '')
    for (const rule of least.filter(word => word.startsWith('+'))) {
      const command = rule.slice(1)
      const said = await attempt(`-${command}`)
      if (['info', 'cluster|shards', 'cluster|countkeysinslot', 'dbsize'].includes(command)) {
        t.equal(said, '', command)
      } else {
        t.match(
          said,
          new RegExp(`^STORE_DENIED .*\\b${command.toUpperCase().replace('|', '.')}\\b`),
          said
        )
      }
    }
    for (const pattern of new Set(REQUIREMENTS.keys.map(({ pattern }) => pattern))) {
      const said = await attempt(
        'resetkeys',
        ...least.filter(word => word.startsWith('~') && word !== `~${pattern}`)
      )
      t.match(said, /^STORE_DENIED Redis denies the service keys such as /, said)
    }
    t.match(await attempt('resetchannels'), /^STORE_DENIED .*SPUBLISH.*SSUBSCRIBE/)
  }
)

t.test('a service that lacks a permission does not start, and says so in one line', async t => {
  const { options } = await userWith('-hincrby')
  t.match(
    await refusalOf(t, options),
    /^Dialogs cannot start: Redis denies the service HINCRBY: grant what compose\/README\.md lists under "Redis permissions"\.\n$/
  )
})

t.test('without INFO the service works, and says what it cannot check', async t => {
  const { options } = await userWith('-info')
  const service = await startService(t, options)
  t.match(service.errors, /maxmemory-policy/)
  const room = freshRoom()
  for (const n of sequence(1, 5)) {
    t.match(await post(service.url, room, 'ann', 'hello'), { status: 201, body: { seq: n } })
  }
  t.match((await request(`${service.url}/cluster`)).body, {
    shards: { 0: { keys: Number, memoryBytes: null, operationsPerSecond: null } }
  })
})

t.test(
  'without WAIT the service says which promise it cannot keep, and works when that is given up',
  async t => {
    const { options } = await userWith('-wait')
    t.match(
      await refusalOf(t, options),
      /^Dialogs cannot start: Redis denies the service WAIT: .*REPLICA_ACKS=0.*\n$/
    )
    const { url } = await startService(t, { ...options, env: { REPLICA_ACKS: '0' } })
    t.equal((await post(url, freshRoom(), 'ann', 'hello')).status, 201)
  }
)

t.test(
  'an evicting memory policy is refused at start, and noticed when a node with one joins later',
  async t => {
    const { options } = await userWith()
    const [node] = cluster.nodes
    const client = await connect(node?.url ?? '')
    t.teardown(async () => {
      await client.sendCommand(['CONFIG', 'SET', 'maxmemory-policy', 'noeviction'])
      await client.disconnect()
    })
    for (const policy of ['allkeys-lru', 'volatile-ttl']) {
      await client.sendCommand(['CONFIG', 'SET', 'maxmemory-policy', policy])
      t.match(
        await refusalOf(t, options),
        new RegExp(
          `^Dialogs cannot start: Redis has maxmemory-policy ${policy}, .*set maxmemory-policy noeviction\\.\n$`
        )
      )
    }
  }
)

for (const { taken, back, code, named } of [
  {
    taken: ['-hincrby'],
    back: ['+hincrby'],
    code: 'STORE_DENIED',
    named: /HINCRBY|its keys or commands/
  },
  { taken: ['-wait'], back: ['+wait'], code: 'STORE_DENIED', named: /WAIT/ },
  { taken: ['-evalsha', '-eval'], back: ['+evalsha', '+eval'], code: 'STORE_DENIED', named: /EVAL/ }
] as const) {
  t.test(
    `${taken.join(' ')} while the service runs: it answers 503 with a code, is not ready, checks again slowly, and recovers when the permission is back`,
    async t => {
      const { options, change } = await userWith()
      const { url } = await startService(t, options)
      const room = freshRoom()
      t.equal((await post(url, room, 'ann', 'before')).status, 201)
      await change(...taken)
      t.match(await post(url, room, 'ann', 'met first'), { status: 503, body: { code } })
      const head = (await readAll(url, room)).length
      const looks = await callsOf('cluster|nodes')
      for (let n = 0; n < 20; n++) {
        t.match(await post(url, room, 'ann', 'refused'), {
          status: 503,
          body: { code, message: named }
        })
      }
      t.match(await request(`${url}/health/ready`), { status: 503, body: { code, message: named } })
      t.ok(
        (await callsOf('cluster|nodes')) - looks < 20,
        'without a topology refresh for each request'
      )
      t.equal((await readAll(url, room)).length, head, 'no refused message is stored')
      await change(...back)
      await until(
        'it is ready again',
        async () => (await request(`${url}/health/ready`)).status === 200
      )
      t.equal((await post(url, room, 'ann', 'after')).status, 201)
    }
  )
}

t.test(
  'without its channels the service is not ready and refreshes the topology only now and then, and streams are live again when the channels are back',
  async t => {
    const { options, change } = await userWith()
    const { url } = await startService(t, options)
    const room = freshRoom()
    t.equal((await post(url, room, 'ann', 'one')).status, 201)
    await change('resetchannels')
    const stream = openSse(t, `${url}/rooms/${room}/events`)
    await until(
      'it is not ready',
      async () => (await request(`${url}/health/ready`)).status === 503
    )
    const looks = await callsOf('cluster|nodes')
    const refused = await callsOf('ssubscribe', 'rejected_calls')
    await until(
      'it has tried to subscribe several times more',
      async () => (await callsOf('ssubscribe', 'rejected_calls')) >= refused + 3,
      60_000
    )
    const more = (await callsOf('cluster|nodes')) - looks
    t.ok(more < 30, `${more} looks`)
    t.match(await post(url, room, 'ann', 'refused'), {
      status: 503,
      body: { code: 'STORE_DENIED', message: /SPUBLISH|channels/ }
    })
    await change(...least.filter(word => word.startsWith('&')))
    await stream.isLive()
    await until('it is ready', async () => (await request(`${url}/health/ready`)).status === 200)
    t.equal((await post(url, room, 'ann', 'two')).status, 201)
    await stream.sees('both', () => stream.seqs.includes(2))
    t.ok(roomChannel(room).startsWith('room:'))
  }
)
