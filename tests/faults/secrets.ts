// No secret appears in anything that a process writes at the most verbose log level, while
// everything fails that can be made to fail: passwords from URLs and files, texts of messages,
// idempotency keys. Covers the service alone and with workers, the commands, and the embedded
// nodes' own logs.
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execFile } from 'node:child_process'
import t, { type Test } from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { logKey, roomSlot, usersKey } from '../../src/store/keys.js'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { connectTo } from '../support/store.js'
import { until } from '../support/until.js'
import { program } from '../support/program.js'

const cluster = await startCluster(t)
const dir = temporaryDir(t)

const some = randomUUID().slice(0, 8)
const USER = 'keeper'
/** A password with every character that a URL must encode. */
const PASSWORD = `pw@${some}:1/2#3?4%5,é`
const FILE_PASSWORD = `filed-${some}`
const WRONG_PASSWORD = `wrong-${some}`
const TEXT = `text-${some}`
const KEY = `key-${some}`
const SECRETS = [
  ...new Set(
    [PASSWORD, FILE_PASSWORD, WRONG_PASSWORD, TEXT, KEY].flatMap(secret => [
      secret,
      encodeURIComponent(secret),
      encodeURI(secret),
      Buffer.from(secret).toString('base64'),
      JSON.stringify(secret).slice(1, -1)
    ])
  ),
  // The parts of the password that remain when a URL is split in the wrong places.
  `pw@${some}`,
  `${some}:1`
]

const withPassword = (password: string): string[] =>
  cluster.urls.map(url =>
    url.replace('redis://', `redis://${USER}:${encodeURIComponent(password)}@`)
  )

async function tellAll(...words: string[]): Promise<void> {
  await Promise.all(
    cluster.nodes.map(async node => {
      const client = await connect(node.url)
      try {
        await client.sendCommand(words)
      } finally {
        await client.disconnect()
      }
    })
  )
}

const setUser = (...rules: string[]): Promise<void> => tellAll('ACL', 'SETUSER', USER, ...rules)

const said: string[] = []
/** @param proof what the output must contain, or the trial proved nothing */
function hear(t: Test, who: string, output: string, ...proof: RegExp[]): void {
  said.push(output)
  for (const pattern of proof) t.match(output, pattern, `${who} says so`)
  const found = SECRETS.filter(secret => output.includes(secret))
  t.strictSame(
    found.map(
      secret => `${secret}: ${/[^\n]*/.exec(output.slice(output.indexOf(secret) - 200))?.[0]}`
    ),
    [],
    `${who} keeps secrets`
  )
}

const unanswered = (error: unknown): { body: Record<string, unknown> } => ({
  body: { message: String(error) }
})

/** Posts texts with keys, valid and invalid ones, and returns the answers. */
let loads = 0

async function load(url: string, room: string, count = 20): Promise<string> {
  loads++
  const answers = await Promise.all(
    sequence(1, count).map(async n => {
      const { body } = await post(url, room, `user-${n % 7}`, `${TEXT} ${n % 7}`, {
        'idempotency-key': `${KEY}-${loads}-${n % 11}`
      }).catch(unanswered)
      return JSON.stringify({ ...body, text: undefined })
    })
  )
  for (const body of [`{"user":"ann","text":"${TEXT}`, `{"text":"${TEXT}"}`, TEXT, `["${TEXT}"]`]) {
    const { body: answer } = await request(`${url}/rooms/${room}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': KEY },
      body
    }).catch(unanswered)
    answers.push(JSON.stringify(answer))
  }
  return answers.join('\n')
}

function run(env: Record<string, string>, script: string, ...args: string[]): Promise<string> {
  const path = program(`cli/${script}`)
  return new Promise(resolve => {
    execFile(
      process.execPath,
      ['--enable-source-maps', path, ...args],
      {
        env: { PATH: process.env['PATH'], LOG_LEVEL: 'trace', STORE_DEADLINE_MS: '1000', ...env },
        maxBuffer: 1e8,
        timeout: 60_000
      },
      (_error, stdout, stderr) => {
        resolve(stdout + stderr)
      }
    )
  })
}

/** Makes Redis fail in one way after the other, and puts load on the service each time. */
async function failInTurn(service: Service, room: string): Promise<string> {
  const answers: string[] = []
  const loaded = async (): Promise<void> => {
    answers.push(await load(service.url, room))
  }
  await loaded()
  await Promise.all([loaded(), tellAll('CLIENT', 'KILL', 'USER', USER)])
  await setUser('-xadd', '-evalsha')
  await loaded()
  await setUser('+@all', 'resetkeys')
  await loaded()
  await setUser('~*', 'resetpass', `>${WRONG_PASSWORD}`)
  await Promise.all([loaded(), tellAll('CLIENT', 'KILL', 'USER', USER)])
  await loaded()
  await setUser('resetpass', `>${PASSWORD}`)
  await until(
    'it is ready again',
    async () => (await request(`${service.url}/health/ready`)).status === 200
  )
  await tellAll('CONFIG', 'SET', 'maxmemory', '1')
  await loaded()
  await tellAll('CONFIG', 'SET', 'maxmemory', '0')
  const [node] = cluster.nodes
  await Promise.all([loaded(), node?.kill('SIGKILL')])
  await loaded()
  await node?.start()
  // A restarted node knows only the users in its file.
  await setUser(...EVERYTHING)
  await until(
    'it is well again',
    async () => (await post(service.url, room, 'ann', 'x')).status === 201
  )
  return answers.join('\n')
}

const EVERYTHING = ['on', `>${PASSWORD}`, '~*', '&*', '+@all']
await setUser(...EVERYTHING)

t.test('a service alone', async t => {
  const service = await startService(t, {
    redisNodes: withPassword(PASSWORD),
    env: { LOG_LEVEL: 'trace', STORE_DEADLINE_MS: '1500', ROOM_LINGER_MS: '0' }
  })
  const room = freshRoom()
  const stream = openSse(t, `${service.url}/rooms/${room}/events`)
  await stream.isLive()
  const answers = await failInTurn(service, room)
  // A room whose keys have the wrong types.
  const broken = freshRoom()
  const admin = await connectTo(t, cluster.urls, { username: USER, password: PASSWORD })
  for (const key of [logKey(broken), usersKey(broken)]) {
    await admin.command(roomSlot(broken), ['SET', key, TEXT])
  }
  const more = await load(service.url, broken)
  await request(`${service.url}/rooms/${broken}/messages`)
  await request(`${service.url}/rooms/${broken}/users`)
  for (const path of ['metrics', 'cluster', 'openapi.json', 'health/ready']) {
    hear(t, path, await (await fetch(`${service.url}/${path}`)).text())
  }
  await admin.command(roomSlot(broken), ['DEL', logKey(broken), usersKey(broken)])
  // Reports are counted for a second before they are logged.
  await sleep(1100)
  await service.stop()
  hear(
    t,
    'the service',
    service.errors + service.output,
    /STORE_DENIED/,

    /WRONGTYPE/
  )
  hear(t, 'its answers', answers + more, /STORE_DENIED/, /INVALID_BODY/)
})

t.test('a service with workers, and its password in a file that changes', async t => {
  const file = join(dir, 'password')
  writeFileSync(file, FILE_PASSWORD)
  await setUser(`>${FILE_PASSWORD}`)
  const service = await startService(t, {
    redisNodes: cluster.urls.map(url => url.replace('redis://', `redis://${USER}@`)),
    env: {
      LOG_LEVEL: 'trace',
      WORKERS: '2',
      REDIS_PASSWORD_FILE: file,
      STORE_DEADLINE_MS: '1500'
    }
  })
  const room = freshRoom()
  let answers = await load(service.url, room)
  writeFileSync(file, WRONG_PASSWORD)
  await Promise.all([load(service.url, room), tellAll('CLIENT', 'KILL', 'USER', USER)])
  answers += await load(service.url, room)
  writeFileSync(file, FILE_PASSWORD)
  await until(
    'it is ready again',
    async () => (await request(`${service.url}/health/ready`)).status === 200
  )
  answers += await load(service.url, room)
  await sleep(1100)
  await service.stop()
  hear(t, 'the service', service.errors + service.output, /STORE_DENIED/)
  hear(t, 'its answers', answers, /STORE_DENIED/)
})

t.test('a service that does not start', async t => {
  const [url = ''] = cluster.urls
  const { host } = new URL(url)
  const starts = [
    ['a wrong password', { REDIS_NODES: withPassword(WRONG_PASSWORD).join(',') }],
    ['a password that is not encoded', { REDIS_NODES: `redis://${USER}:${PASSWORD}@${host}` }],
    ['no protocol', { REDIS_NODES: `${USER}:${PASSWORD}@${host}` }],
    ['quotes', { REDIS_NODES: `"${withPassword(PASSWORD)[0]}"` }],
    ['a space', { REDIS_NODES: withPassword(PASSWORD).join(' ') }],
    ['two passwords', { REDIS_NODES: `${withPassword(PASSWORD)[0]},${withPassword(TEXT)[1]}` }],
    [
      'nobody there',
      { REDIS_NODES: `redis://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:1` }
    ],
    ['a folder as file', { REDIS_NODES: url, REDIS_PASSWORD_FILE: dir }],
    [
      'both',
      { REDIS_NODES: withPassword(PASSWORD).join(), REDIS_PASSWORD_FILE: join(dir, 'none') }
    ],
    [
      'a password as certificate',
      { REDIS_NODES: `rediss://${host}`, REDIS_TLS_CA: join(dir, 'password') }
    ],
    ['the URL in another setting', { PORT: withPassword(PASSWORD)[0] ?? '' }]
  ] as const
  await Promise.all(
    starts.map(async ([what, env]) => {
      const service = new Service({
        env: { LOG_LEVEL: 'trace', STORE_DEADLINE_MS: '500', DATA_DIR: join(dir, 'none'), ...env }
      })
      t.teardown(() => service.end('SIGKILL'))
      await t.rejects(service.start(), what)
      hear(t, what, service.errors + service.output, /.{20}/)
    })
  )
})

t.test('the commands', async t => {
  const REDIS_NODES = withPassword(PASSWORD).join(',')
  const wrong = withPassword(WRONG_PASSWORD).join(',')
  const dead = `redis://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:1`
  const everywhere = [['check'], ['cluster', 'status'], ['accept-loss', '--yes']]
  const runs = [
    ...[REDIS_NODES, wrong, dead].flatMap(nodes => everywhere.map(words => ({ nodes, words }))),
    { nodes: REDIS_NODES, words: ['cluster', 'rebalance', '--yes'] },
    { nodes: REDIS_NODES, words: ['cluster', 'move', '--nonsense'] },
    {
      nodes: REDIS_NODES,
      words: ['msggen', '--url', 'http://127.0.0.1:1', '--count', '3', '--idempotent']
    }
  ]
  await Promise.all(
    runs.map(async ({ nodes, words: [script = '', ...args] }) => {
      const output = await run({ REDIS_NODES: nodes }, script, ...args)
      hear(t, `${script} ${args.join(' ')}`, output, /.{20}/)
    })
  )
})

t.test('what Redis quotes of an unknown command is not passed on', async t => {
  const admin = await connectTo(t, cluster.urls)
  const [node = ''] = admin.topology.masters
  await t.rejects(admin.onNode(node, ['NOSUCH', 'a', TEXT]), {
    message: /^ERR unknown command 'NOSUCH'$/
  })
  // As a move of slots sends it.
  await t.rejects(admin.onNode(node, ['MIGRAT', 'host', '1', 'AUTH2', USER, PASSWORD]), {
    message: /^ERR unknown command 'MIGRAT'$/
  })
})

t.test('an embedded cluster', async t => {
  const dataDir = join(dir, 'embedded')
  const service = await startService(t, { env: { LOG_LEVEL: 'trace', DATA_DIR: dataDir } })
  const room = freshRoom()
  await load(service.url, room)
  await service.kill()
  await service.start()
  await load(service.url, room)
  await service.stop()
  hear(t, 'the service', service.errors + service.output, /ready/)
  hear(t, 'check', await run({ DATA_DIR: dataDir }, 'check'), /.{20}/)
  const { nodes } = JSON.parse(readFileSync(join(dataDir, 'cluster.json'), 'utf8')) as {
    readonly nodes: ReadonlyArray<{ readonly dir?: string; readonly port: number }>
  }
  t.ok(nodes.length > 0)
})

t.test('the logs of the nodes', async t => {
  for (const node of cluster.nodes) {
    hear(t, String(node.port), readFileSync(join(node.dir, 'redis.log'), 'utf8'), /Ready to accept/)
  }
})
