// Redis behind TLS, with user and password, announcing addresses that cannot be reached from here,
// as in containers and managed clusters.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { findRedisServer } from '../../src/embedded/found-redis.js'
import { freePorts } from '../../src/embedded/ports.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const dir = temporaryDir(t)
execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-keyout',
    `${dir}/key.pem`,
    '-out',
    `${dir}/cert.pem`
  ],
  { stdio: 'pipe' }
)

const [port = 0] = await freePorts(1)
// The address that the node announces cannot be reached from here.
const announced = '10.255.255.1'

writeFileSync(
  `${dir}/redis.conf`,
  `
port 0
tls-port ${port}
bind 127.0.0.1
dir ${dir}
cluster-enabled yes
cluster-announce-ip ${announced}
tls-cert-file ${dir}/cert.pem
tls-key-file ${dir}/key.pem
tls-ca-cert-file ${dir}/cert.pem
tls-auth-clients no
tls-cluster yes
save ""
user default off
user chat on >s3cret:/@ ~* &* +@all
`
)
const command = await findRedisServer()
const server = spawn(command, [`${dir}/redis.conf`], { stdio: 'ignore' })
t.teardown(async () => {
  const exited = once(server, 'exit')
  server.kill('SIGKILL')
  await exited
})

function cli(...args: string[]): string {
  return execFileSync(
    command.replace('server', 'cli'),
    [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '--tls',
      '--cacert',
      `${dir}/cert.pem`,
      '--user',
      'chat',
      '--pass',
      's3cret:/@',
      '--no-auth-warning',
      ...args
    ],
    { encoding: 'utf8', stdio: 'pipe' }
  )
}

await until('redis answers', () => {
  try {
    return cli('PING').startsWith('PONG')
  } catch {
    return false
  }
})
cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
await until('the cluster is up', () => cli('CLUSTER', 'INFO').includes('cluster_state:ok'))

const env = {
  REDIS_NODES: `rediss://chat:${encodeURIComponent('s3cret:/@')}@localhost:${port}`,
  REDIS_TLS_CA: `${dir}/cert.pem`,
  REDIS_ADDRESS_MAP: `${announced}:${port}=127.0.0.1:${port}`,
  STORE_DEADLINE_MS: '2000'
}

t.test('writes, reads and streams over TLS with user, password and mapped addresses', async t => {
  const { url } = await startService(t, { env })
  const room = freshRoom()
  const stream = openSse(t, `${url}/rooms/${room}/events`)
  await stream.isLive()
  await postMany(url, room, 'ann', 10)
  await stream.sees('all ten', () => stream.seqs.length === 10)
  t.same(stream.seqs, sequence(1, 10))
  t.equal((await readAll(url, room)).length, 10)
  t.match((await request(`${url}/cluster`)).body, {
    shards: { length: 1, 0: { master: { address: `127.0.0.1:${port}` }, keys: Number } }
  })
})

const asChat = (password: string, ...words: string[]): void => {
  execFileSync(
    command.replace('server', 'cli'),
    [
      ...['-p', String(port), '--tls', '--cacert', `${dir}/cert.pem`, '--no-auth-warning'],
      ...['--user', 'chat', '--pass', password, ...words]
    ],
    { stdio: 'pipe' }
  )
}

for (const [name, setting] of [
  ['a password in a file is read again for each connection', 'REDIS_PASSWORD_FILE'],
  [
    'the command for the password runs again when Redis refuses the password',
    'REDIS_PASSWORD_COMMAND'
  ]
] as const) {
  t.test(name, async t => {
    const file = `${dir}/password`
    writeFileSync(file, 's3cret:/@\n')
    const { url } = await startService(t, {
      env: {
        ...env,
        REDIS_NODES: `rediss://chat@localhost:${port}`,
        [setting]: setting === 'REDIS_PASSWORD_FILE' ? file : `cat ${file}`
      }
    })
    const room = freshRoom()
    await postMany(url, room, 'ann', 3)
    const stream = openSse(t, `${url}/rooms/${room}/events`)
    await stream.isLive()
    // The old password still works for open connections, but not for new ones.
    cli('ACL', 'SETUSER', 'chat', 'resetpass', '>fresh')
    t.teardown(() => {
      asChat('fresh', 'ACL', 'SETUSER', 'chat', 'resetpass', '>s3cret:/@')
    })
    writeFileSync(file, 'fresh')
    for (const type of ['normal', 'pubsub']) asChat('fresh', 'CLIENT', 'KILL', 'TYPE', type)
    await until(
      'it writes again',
      async () => (await post(url, room, 'ann', 'again')).status === 201
    )
    await stream.sees('what is written then', () => stream.seqs.includes(4))
  })
}

t.test('a command that prints no password is reported at start', async t => {
  const service = new Service({
    env: {
      ...env,
      REDIS_NODES: `rediss://chat@localhost:${port}`,
      REDIS_PASSWORD_COMMAND: 'echo s3cret; exit 3'
    }
  })
  t.teardown(() => service.kill())
  await t.rejects(service.start())
  t.match(service.errors, /^Dialogs cannot start: .*REDIS_PASSWORD_COMMAND ended with status 3/)
  t.notMatch(service.errors, /s3cret/)
})

t.test('a wrong password is reported at start', async t => {
  const service = new Service({
    env: { ...env, REDIS_NODES: env.REDIS_NODES.replace('s3cret', 'wrong') }
  })
  t.teardown(() => service.kill())
  await t.rejects(service.start())
  t.match(
    service.errors,
    /^Dialogs cannot start: Redis denies the service: check user and password/
  )
  t.notMatch(service.errors, /s3cret|wrong%3A/, 'and the error does not show the password')
})

t.test('an untrusted certificate is refused', async t => {
  const service = new Service({ env: { ...env, REDIS_TLS_CA: '' } })
  t.teardown(() => service.kill())
  await t.rejects(service.start())
  t.match(service.errors, /Dialogs cannot start: .*certificate/i)
})

t.test('revoked permissions lead to a 503', async t => {
  const { url } = await startService(t, { env })
  const room = freshRoom()
  t.equal((await post(url, room, 'ann', 'hello')).status, 201)
  cli('ACL', 'SETUSER', 'chat', '-xadd')
  t.teardown(() => {
    cli('ACL', 'SETUSER', 'chat', '+@all')
  })
  t.match(await post(url, room, 'ann', 'hello'), { status: 503, body: { code: 'STORE_DENIED' } })
  cli('ACL', 'SETUSER', 'chat', '+@all')
  await until(
    'the permission is noticed',
    async () => (await request(`${url}/health/ready`)).status === 200
  )
  t.match(await post(url, room, 'ann', 'hello'), { status: 201, body: { seq: 2 } })
})
