// Nodes that must be reached at another address than they announce: by a host name, with
// certificates for that name and for the client, or at the host that was asked. `/cluster` shows
// which addresses were used, and the certificates are valid only for the name.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { freePorts } from '../../src/embedded/ports.js'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { temporaryDir } from '../support/embedded.js'
import { Service, startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const dir = temporaryDir(t)
const NODES = 3
const openssl = (...args: string[]): void => {
  execFileSync('openssl', args, { stdio: 'pipe', cwd: dir })
}

// A certificate authority of its own. The nodes' certificate is for the name alone, not for an
// address.
openssl(
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
  '/CN=authority',
  '-keyout',
  'ca.key',
  '-out',
  'ca.pem'
)
for (const [name, extension] of [
  ['node', 'subjectAltName=DNS:localhost'],
  ['client', 'subjectAltName=DNS:dialogs'],
  ['stranger', 'subjectAltName=DNS:localhost']
] as const) {
  writeFileSync(`${dir}/${name}.ext`, extension)
  openssl(
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`
  )
  if (name === 'stranger') {
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-signkey',
      `${name}.key`,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`
    )
  } else {
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`
    )
  }
}

type Nodes = {
  readonly ports: readonly number[]
  readonly cli: (port: number, ...args: string[]) => string
}

/** Three masters on loopback. */
async function startNodes(
  t: Test,
  { isTls, lines }: { readonly isTls: boolean; readonly lines: readonly string[] }
): Promise<Nodes> {
  const ports = await freePorts(NODES)
  const tlsArgs = isTls
    ? [
        '--tls',
        '--cacert',
        `${dir}/ca.pem`,
        '--cert',
        `${dir}/client.pem`,
        '--key',
        `${dir}/client.key`
      ]
    : []
  const cli = (port: number, ...args: string[]): string =>
    execFileSync('redis-cli', ['-h', 'localhost', '-p', String(port), ...tlsArgs, ...args], {
      encoding: 'utf8',
      stdio: 'pipe'
    })
  for (const port of ports) {
    const folder = `${dir}/${port}`
    mkdirSync(folder)
    writeFileSync(
      `${folder}/redis.conf`,
      [
        ...(isTls
          ? [
              'port 0',
              `tls-port ${port}`,
              `tls-cert-file ${dir}/node.pem`,
              `tls-key-file ${dir}/node.key`,
              `tls-ca-cert-file ${dir}/ca.pem`,
              'tls-auth-clients yes',
              'tls-cluster yes',
              'tls-replication yes'
            ]
          : [`port ${port}`]),
        'bind 127.0.0.1',
        `dir ${folder}`,
        'cluster-enabled yes',
        'cluster-node-timeout 60000',
        'save ""',
        ...lines
      ].join('\n')
    )
    const server = spawn('redis-server', [`${folder}/redis.conf`], { stdio: 'ignore' })
    t.teardown(async () => {
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
    })
    await until('redis answers', () => {
      try {
        return cli(port, 'PING').startsWith('PONG')
      } catch {
        return false
      }
    })
  }
  for (const [index, port] of ports.entries()) {
    cli(
      port,
      'CLUSTER',
      'ADDSLOTSRANGE',
      String(Math.ceil((index * 16384) / NODES)),
      String(Math.ceil(((index + 1) * 16384) / NODES) - 1)
    )
  }
  for (const port of ports) {
    for (const other of ports) {
      if (other !== port) cli(port, 'CLUSTER', 'MEET', '127.0.0.1', String(other))
    }
  }
  await until('the cluster is up', () =>
    ports.every(
      port =>
        cli(port, 'CLUSTER', 'INFO').includes('cluster_state:ok') &&
        cli(port, 'CLUSTER', 'NODES')
          .split('\n')
          .filter(line => line.includes('connected') && !line.includes('handshake')).length ===
          NODES
    )
  )
  return { ports, cli }
}

async function serves(t: Test, url: string): Promise<void> {
  const rooms = Array.from({ length: 8 }, () => freshRoom())
  for (const room of rooms) {
    const stream = openSse(t, `${url}/rooms/${room}/events`)
    await stream.isLive()
    await postMany(url, room, 'ann', 5)
    await stream.sees('all five', () => stream.seqs.length === 5)
    t.same(stream.seqs, sequence(1, 5))
    t.equal((await readAll(url, room)).length, 5)
  }
  t.equal((await request(`${url}/health/ready`)).status, 200)
}

/**
 * Moves the slot of a room while the room is written to: MOVED and ASK name the node in its
 * preferred way.
 */
async function follows(t: Test, url: string, { ports, cli }: Nodes): Promise<void> {
  const room = freshRoom()
  const keys = [`room:{${room}}:log`, `room:{${room}}:users`]
  await postMany(url, room, 'ann', 3)
  const slot = Number(cli(ports[0] ?? 0, 'CLUSTER', 'KEYSLOT', keys[0] ?? ''))
  const idOf = (port: number): string => cli(port, 'CLUSTER', 'MYID').trim()
  const from =
    ports.find(port => cli(port, 'CLUSTER', 'COUNTKEYSINSLOT', String(slot)).trim() !== '0') ?? 0
  const to = ports.find(port => port !== from) ?? 0
  cli(to, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', idOf(from))
  cli(from, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', idOf(to))
  cli(from, 'MIGRATE', '127.0.0.1', String(to), '', '0', '5000', 'KEYS', ...keys)
  t.equal((await post(url, room, 'ann', 'asked')).status, 201, 'ASK is followed')
  for (const port of [to, from]) cli(port, 'CLUSTER', 'SETSLOT', String(slot), 'NODE', idOf(to))
  t.equal((await post(url, room, 'ann', 'moved')).status, 201, 'MOVED is followed')
  t.equal((await readAll(url, room)).length, 5)
}

const callsOf = ({ ports, cli }: Nodes, command: string): number =>
  ports.reduce(
    (sum, port) =>
      sum +
      Number(
        new RegExp(`cmdstat_${command.replace('|', '\\|')}:calls=(\\d+)`).exec(
          cli(port, 'INFO', 'commandstats')
        )?.[1] ?? 0
      ),
    0
  )

t.test(
  'nodes that prefer a host name are reached by it, also after MOVED and ASK, and are asked for it once',
  async t => {
    const nodes = await startNodes(t, {
      isTls: false,
      lines: ['cluster-announce-hostname localhost', 'cluster-preferred-endpoint-type hostname']
    })
    const { url } = await startService(t, {
      env: {
        REDIS_NODES: `redis://127.0.0.1:${nodes.ports[0]}`,
        REPLICA_ACKS: '0',
        TOPOLOGY_REFRESH_MS: '200'
      }
    })
    await serves(t, url)
    await follows(t, url, nodes)
    t.match((await request(`${url}/cluster`)).body, {
      shards: { 0: { master: { address: /^localhost:/ } } }
    })
    const looks = callsOf(nodes, 'cluster|nodes')
    const before = callsOf(nodes, 'cluster|shards')
    await until('it has refreshed the topology', () => callsOf(nodes, 'cluster|nodes') > looks + 10)
    t.equal(callsOf(nodes, 'cluster|shards'), before, 'a refresh costs no more than before')
  }
)

t.test('nodes with an unknown endpoint are reached at the host that was asked', async t => {
  const nodes = await startNodes(t, {
    isTls: false,
    lines: ['cluster-preferred-endpoint-type unknown-endpoint']
  })
  const { url } = await startService(t, {
    env: { REDIS_NODES: `redis://localhost:${nodes.ports[0]}`, REPLICA_ACKS: '0' }
  })
  await serves(t, url)
  await follows(t, url, nodes)
  t.match((await request(`${url}/cluster`)).body, {
    shards: { 0: { master: { address: /^localhost:/ } }, 2: { master: { address: /^localhost:/ } } }
  })
})

t.test('REDIS_ADDRESS_MAP takes precedence over what nodes prefer', async t => {
  const nodes = await startNodes(t, {
    isTls: false,
    lines: ['cluster-announce-hostname nowhere.invalid', 'cluster-preferred-endpoint-type hostname']
  })
  const map = nodes.ports.map(port => `nowhere.invalid:${port}=127.0.0.1:${port}`).join(',')
  const { url } = await startService(t, {
    env: {
      REDIS_NODES: `redis://127.0.0.1:${nodes.ports[0]}`,
      REDIS_ADDRESS_MAP: map,
      REPLICA_ACKS: '0'
    }
  })
  await serves(t, url)
  await follows(t, url, nodes)
})

t.test('TLS works with certificates for a name, and with a client certificate', async t => {
  const nodes = await startNodes(t, {
    isTls: true,
    lines: ['cluster-announce-hostname localhost', 'cluster-preferred-endpoint-type hostname']
  })
  const env = {
    REDIS_NODES: `rediss://localhost:${nodes.ports[0]}`,
    REDIS_TLS_CA: `${dir}/ca.pem`,
    REDIS_TLS_CERT: `${dir}/client.pem`,
    REDIS_TLS_KEY: `${dir}/client.key`,
    REPLICA_ACKS: '0',
    STORE_DEADLINE_MS: '1500'
  }
  const { url } = await startService(t, { env })
  await serves(t, url)
  for (const [what, other] of [
    ['no certificate', { REDIS_TLS_CERT: '', REDIS_TLS_KEY: '' }],
    [
      'a certificate that the nodes do not trust',
      { REDIS_TLS_CERT: `${dir}/stranger.pem`, REDIS_TLS_KEY: `${dir}/stranger.key` }
    ],
    [
      "an address that the nodes' certificate is not for",
      { REDIS_NODES: env.REDIS_NODES.replace('localhost', '127.0.0.1') }
    ]
  ] as const) {
    const service = new Service({ env: { ...env, ...other } })
    t.teardown(() => service.kill())
    await t.rejects(service.start(), what)
    t.match(service.errors, /^Dialogs cannot start: No Redis Cluster at .*\n$/, what)
  }
})
