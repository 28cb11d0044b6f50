// The only reader of the environment. Every setting stands here once: name, unit, default, limits,
// and what it is for; compose/README.md has tables of them, which a test checks against this list.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { type Address, addressKey } from './redis/address.js'
import { parseAddress } from './redis/topology.js'

type Setting<T> = {
  readonly name: string
  readonly standard: string
  readonly about: string
  readonly parse: (text: string) => T
}

export class SettingError extends Error {}

function text(name: string, standard: string, about: string): Setting<string> {
  return { name, standard, about, parse: text => text }
}

function names(name: string, about: string): Setting<readonly string[]> {
  return {
    name,
    standard: '',
    about,
    parse: text =>
      text
        .split(',')
        .map(part => {
          const host = part.trim().toLowerCase()
          if (
            text !== '' &&
            !/^(?:\*|\.?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])$/.test(host)
          ) {
            throw new SettingError(
              `${name} must hold host names without a port, such as chat.example.com or [::1], not "${host}"`
            )
          }
          return host
        })
        .filter(host => host !== '')
  }
}

function integer(
  name: string,
  standard: number,
  min: number,
  max: number,
  about: string
): Setting<number> {
  return {
    name,
    standard: String(standard),
    about,
    parse: text => {
      const number = Number(text)
      if (!/^\d+$/.test(text) || number < min || number > max) {
        throw new SettingError(
          `${name} must be a whole number from ${min} to ${max}, not "${text}"`
        )
      }
      return number
    }
  }
}

const WORKERS_MAX = 64

function workers(name: string, standard: string, about: string): Setting<number> {
  const { parse } = integer(name, 1, 1, WORKERS_MAX, about)
  return {
    name,
    standard,
    about,
    parse: text => (text === 'auto' ? Math.min(availableParallelism(), WORKERS_MAX) : parse(text))
  }
}

const MIB = 1024 * 1024

export const SETTINGS = {
  host: text('HOST', '127.0.0.1', 'address to listen on'),
  port: integer('PORT', 8080, 0, 65535, 'port to listen on; 0 takes a free one'),
  workers: workers(
    'WORKERS',
    '1',
    'processes that serve the port together, or `auto`: one for each processor, at most 64; limits and connections below are those of each'
  ),
  allowedHosts: names(
    'ALLOWED_HOSTS',
    'comma-separated host names that requests may be for, .name for all below it, * for any; empty: localhost, 127.0.0.1 and ::1 where the service listens on one of these (a page elsewhere could reach it by a name of its own), any name elsewhere'
  ),
  listenBacklog: integer(
    'LISTEN_BACKLOG',
    4096,
    1,
    65535,
    'connections that wait to be accepted: with fewer, a crowd that comes back at once waits whole seconds; the system may allow less'
  ),
  requestTimeoutMs: integer(
    'REQUEST_TIMEOUT_MS',
    30000,
    100,
    600000,
    'ms in which a request has to arrive whole; it is cut off after one to two of these'
  ),
  logLevel: text(
    'LOG_LEVEL',
    'warn',
    'fatal, error, warn, info, debug, trace or silent; JSON lines on standard error'
  ),
  redisNodes: text(
    'REDIS_NODES',
    '',
    'comma-separated redis:// or rediss:// URLs of some nodes, with user and password if needed; empty: an embedded cluster'
  ),
  redisAddressMap: text(
    'REDIS_ADDRESS_MAP',
    '',
    'comma-separated announced=reachable pairs of host:port, where nodes announce addresses that cannot be reached from here'
  ),
  redisPasswordFile: text(
    'REDIS_PASSWORD_FILE',
    '',
    'file with the password for REDIS_NODES; read again for each connection, so that a password that expires can be replaced while the service runs'
  ),
  redisTlsCa: text(
    'REDIS_TLS_CA',
    '',
    'file with the PEM certificate authority of rediss:// nodes'
  ),
  redisTlsCert: text(
    'REDIS_TLS_CERT',
    '',
    'file with the PEM client certificate, where the nodes ask for one; with REDIS_TLS_KEY'
  ),
  redisTlsKey: text('REDIS_TLS_KEY', '', 'file with the PEM key of REDIS_TLS_CERT'),
  dataDir: text('DATA_DIR', '.data', 'folder of the embedded cluster'),
  nodeTimeoutMs: integer(
    'NODE_TIMEOUT_MS',
    2000,
    500,
    60000,
    'ms after which the embedded cluster holds a silent node for dead'
  ),

  blockLength: integer(
    'BLOCK_LENGTH',
    1000,
    1,
    100000,
    'messages of a user in one block; must never change over existing data'
  ),
  segmentLength: integer(
    'SEGMENT_LENGTH',
    1024,
    16,
    65536,
    'log entries in a sealed segment; must never change over existing data'
  ),
  textMax: integer('TEXT_MAX', 4096, 1, 65536, 'characters (code points) in a text'),
  replicaAcks: integer(
    'REPLICA_ACKS',
    1,
    0,
    5,
    'replicas that have to acknowledge a write, where so many are connected'
  ),
  onceTtlS: integer(
    'IDEMPOTENCY_TTL_S',
    86400,
    1,
    2592000,
    's for which an Idempotency-Key is remembered'
  ),

  deadlineMs: integer(
    'STORE_DEADLINE_MS',
    10000,
    100,
    120000,
    'ms after which a POST or a read that the store does not answer gets 503'
  ),
  lostPatienceMs: integer(
    'LOST_PATIENCE_MS',
    3000,
    0,
    60000,
    'ms for which a reader waits for a message of the last half minute whose text is gone: after a failover its writer may put it back'
  ),
  commandTimeoutMs: integer(
    'COMMAND_TIMEOUT_MS',
    2000,
    200,
    60000,
    'ms without any reply after which a Redis connection is given up; must be more than 600'
  ),
  connectTimeoutMs: integer(
    'CONNECT_TIMEOUT_MS',
    1000,
    50,
    60000,
    'ms for opening a Redis connection'
  ),
  topologyRefreshMs: integer(
    'TOPOLOGY_REFRESH_MS',
    5000,
    100,
    600000,
    'ms between looks at the cluster when nothing seems wrong'
  ),
  commandConnections: integer(
    'COMMAND_CONNECTIONS',
    1,
    1,
    16,
    'connections to each node for small commands'
  ),
  writeConnections: integer(
    'WRITE_CONNECTIONS',
    1,
    1,
    16,
    'write connections to each master; with one, all that comes while a group is on its way and acknowledged is the next group'
  ),
  groupLengthMax: integer('GROUP_LENGTH_MAX', 256, 1, 4096, 'messages committed in one group'),
  queueLengthMax: integer(
    'QUEUE_LENGTH_MAX',
    10000,
    1,
    1000000,
    'POSTs that may wait for the store; beyond: 503 at once'
  ),
  queueBytesMax: integer(
    'QUEUE_BYTES_MAX',
    64 * MIB,
    1024,
    4096 * MIB,
    'bytes that these may hold'
  ),
  requestsMax: integer(
    'REQUESTS_MAX',
    12000,
    1,
    1000000,
    'requests in work, streams not counted; beyond: 503 at once'
  ),
  requestsBytesMax: integer(
    'REQUESTS_BYTES_MAX',
    64 * MIB,
    64 * 1024,
    4096 * MIB,
    'bytes that the bodies of these may have; beyond: 503 at once'
  ),
  answersBytesMax: integer(
    'ANSWERS_BYTES_MAX',
    64 * MIB,
    64 * 1024,
    4096 * MIB,
    'bytes of pages that are ready and not taken by their clients; beyond: further requests for pages get 503'
  ),
  answerReadsMax: integer(
    'ANSWER_READS_MAX',
    32,
    1,
    10000,
    'pages that are read from the store at once for requests; further ones wait for their turn'
  ),
  pipelineMax: integer(
    'PIPELINE_MAX',
    1000,
    0,
    100000,
    'requests that may wait behind another one on the same connection, where they are served one by one; the next gets 503 and ends it'
  ),

  heartbeatMs: integer(
    'HEARTBEAT_MS',
    15000,
    100,
    600000,
    'ms of silence after which a stream gets a heartbeat, event: ping: a client that hears nothing for longer has lost its connection'
  ),
  retryMs: integer(
    'RETRY_MS',
    1000,
    0,
    600000,
    'ms after which an EventSource comes back, sent at the start of each stream'
  ),
  socketBytesMax: integer(
    'SOCKET_BYTES_MAX',
    64 * 1024,
    16 * 1024,
    64 * MIB,
    'bytes that wait in one socket before its reader is held back; at least 16384'
  ),
  stalledMsMax: integer(
    'STALLED_MS_MAX',
    60000,
    1000,
    3600000,
    'ms in which a client takes nothing of what waits for it, a stream or another answer, before it is cut off'
  ),
  streamsMax: integer(
    'STREAMS_MAX',
    15000,
    1,
    1000000,
    'open streams; beyond: a client is told at once to come back later'
  ),
  roomsPerStreamMax: integer('ROOMS_PER_STREAM_MAX', 100, 1, 1000, 'rooms on one stream'),
  ringLengthMax: integer(
    'RING_LENGTH_MAX',
    2048,
    1,
    1000000,
    'newest frames of a room kept in memory'
  ),
  ringBytesMax: integer('RING_BYTES_MAX', MIB, 1024, 1024 * MIB, 'bytes of these'),
  ringsBytesMax: integer(
    'RINGS_BYTES_MAX',
    128 * MIB,
    1024,
    16384 * MIB,
    'bytes of the rings of all rooms; beyond it each keeps its newest group only'
  ),
  heldLengthMax: integer(
    'HELD_LENGTH_MAX',
    4096,
    1,
    1000000,
    'frames of a room that wait for a gap before them to close'
  ),
  gapWaitMs: integer(
    'GAP_WAIT_MS',
    10,
    0,
    10000,
    'ms for which a gap may close by itself before it is read from the store'
  ),
  pageLength: integer(
    'PAGE_LENGTH',
    512,
    128,
    10000,
    'messages on the first page of a reader behind the ring; one that is slow gets shorter ones, down to 128'
  ),
  pageLengthMax: integer(
    'PAGE_LENGTH_MAX',
    4096,
    128,
    100000,
    'messages of a page for a reader that takes them at once; at least PAGE_LENGTH'
  ),
  pageBytesMax: integer(
    'PAGE_BYTES_MAX',
    MIB,
    16 * 1024,
    1024 * MIB,
    'bytes at which a page of messages ends, also one with fewer messages than asked for; on a stream judged by the messages of the page before'
  ),
  pagesBytesMax: integer(
    'PAGES_BYTES_MAX',
    16 * MIB,
    0,
    4096 * MIB,
    'bytes of pages that are kept for a second, for the next reader'
  ),
  pageReadsMax: integer(
    'PAGE_READS_MAX',
    16,
    1,
    10000,
    'pages that are read from the store at once for all readers'
  ),
  lingerMs: integer(
    'ROOM_LINGER_MS',
    10000,
    0,
    3600000,
    'ms for which a room stays subscribed after its last reader'
  ),
  auditMs: integer(
    'AUDIT_MS',
    5000,
    100,
    600000,
    'ms in which a room that hears nothing is compared with the store: so long a lost last message may stay unseen'
  ),
  drainMs: integer(
    'DRAIN_MS',
    3000,
    0,
    600000,
    'ms over which streams are ended when the service stops'
  )
} as const satisfies Record<string, Setting<unknown>>

type Values = { readonly [K in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[K]['parse']> }

export type RedisTarget = {
  readonly seeds: readonly Address[]
  readonly tls: boolean
  readonly tlsCa: string | undefined
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly username: string | undefined
  /** A function where it may change while the service runs. */
  readonly password: string | (() => string) | undefined
  readonly addressMap: ReadonlyMap<string, Address>
}

export type Config = Values & { readonly redis: RedisTarget | undefined }

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** Reads all settings. @throws SettingError that names the setting and what it may be */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env
): Config {
  const values = Object.fromEntries(
    Object.entries(SETTINGS).map(([key, setting]) => {
      const given = env[setting.name]
      return [key, setting.parse(given === undefined || given === '' ? setting.standard : given)]
    })
  ) as Values // Object.fromEntries forgets which key has which type.
  if (!LOG_LEVELS.includes(values.logLevel)) {
    throw new SettingError(
      `LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}, not "${values.logLevel}"`
    )
  }
  if (values.commandTimeoutMs <= 600) {
    throw new SettingError(
      'COMMAND_TIMEOUT_MS must be more than 600: a wait for replicas may take 500'
    )
  }
  return {
    ...values,
    redis: values.redisNodes === '' ? undefined : redisTarget(values.redisNodes.split(','), values)
  }
}

/**
 * What REDIS_NODES and its companions say. All URLs must agree on TLS, user and password.
 * @throws SettingError that quotes nothing of a URL: when something is wrong with it, any part of
 * it may be a piece of the password
 */
export function redisTarget(
  nodes: readonly string[],
  {
    redisAddressMap = '',
    redisPasswordFile = '',
    redisTlsCa = '',
    redisTlsCert = '',
    redisTlsKey = ''
  }: Partial<Values> = {}
): RedisTarget {
  const urls = nodes.map((node, index) => {
    const fault = urlFault(node.trim())
    if (fault !== undefined) {
      throw new SettingError(
        `REDIS_NODES must hold redis:// or rediss:// URLs such as redis://user:password@host:6379, but number ${index + 1} of ${nodes.length} ${fault}`
      )
    }
    return new URL(node.trim())
  })
  const [first] = urls
  const login = ({ protocol, username, password }: URL): string =>
    [protocol, username, password].join(' ')
  if (first === undefined || urls.some(url => login(url) !== login(first))) {
    throw new SettingError('REDIS_NODES must have the same protocol, user and password in all URLs')
  }
  const isTls = first.protocol === 'rediss:'
  for (const [name, file] of [
    ['REDIS_TLS_CA', redisTlsCa],
    ['REDIS_TLS_CERT', redisTlsCert],
    ['REDIS_TLS_KEY', redisTlsKey]
  ] as const) {
    if (file !== '' && !isTls) {
      throw new SettingError(
        `${name} is set, but REDIS_NODES has redis:// URLs: without TLS it does nothing, use rediss://`
      )
    }
  }
  if ((redisTlsCert === '') !== (redisTlsKey === '')) {
    throw new SettingError('REDIS_TLS_CERT and REDIS_TLS_KEY must be set together')
  }
  return {
    seeds: urls.map(({ hostname, port }) => ({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port === '' ? 6379 : Number(port)
    })),
    tls: isTls,
    tlsCa: readPem('REDIS_TLS_CA', redisTlsCa),
    tlsCert: readPem('REDIS_TLS_CERT', redisTlsCert),
    tlsKey: readPem('REDIS_TLS_KEY', redisTlsKey),
    username: first.username === '' ? undefined : decodeURIComponent(first.username),
    password: passwordFrom(redisPasswordFile, decodeURIComponent(first.password)),
    addressMap: parseAddressMap(redisAddressMap)
  }
}

const ENCODE_PASSWORD =
  'percent-encode user and password (@ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25, a comma is %2C)'

function urlFault(node: string): string | undefined {
  if (node === '') return 'is empty: remove a comma'
  if (!/^rediss?:\/\//.test(node)) {
    return `begins with something else: separate URLs by commas, without quotes, and ${ENCODE_PASSWORD}`
  }
  if (!URL.canParse(node)) {
    return `is not a URL: ${ENCODE_PASSWORD}, and give the port as a number up to 65535`
  }
  const { hostname, pathname, search, hash, username, password } = new URL(node)
  if (hostname === '') return 'has no host'
  // A password with one of these characters would end the host, and its first part would be taken
  // for host and port.
  if (search !== '' || hash !== '' || !/^\/?0?$/.test(pathname)) {
    return `has more behind its port than /0, the only database of a cluster: ${ENCODE_PASSWORD}`
  }
  if (/[\s%"'<>\\^`{|}]/.test(hostname)) {
    return `has a host that cannot be one: separate URLs by commas, and ${ENCODE_PASSWORD}`
  }
  if ((node.match(/@/g)?.length ?? 0) > 1) return `has more than one @: ${ENCODE_PASSWORD}`
  try {
    decodeURIComponent(username + password)
    return undefined
  } catch {
    return `has a % that encodes nothing: ${ENCODE_PASSWORD}`
  }
}

/**
 * Why a file cannot be read, without its name: whoever mistakes the setting puts the secret itself
 * there.
 */
function fileFault(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  return code === undefined ? 'it is empty' : `reading it failed with ${code}`
}

function passwordFrom(file: string, inUrl: string): RedisTarget['password'] {
  if (file === '') return inUrl === '' ? undefined : inUrl
  if (inUrl !== '') {
    throw new SettingError('REDIS_NODES must hold no password where REDIS_PASSWORD_FILE is set')
  }
  let password = ''
  const read = (): string => {
    password = readFileSync(file, 'utf8').trim() || password
    return password
  }
  try {
    if (read() === '') throw new Error('empty')
  } catch (error) {
    throw new SettingError(
      `REDIS_PASSWORD_FILE must name a file with a password, but ${fileFault(error)}`
    )
  }
  return () => {
    try {
      return read()
    } catch {
      // The file is just being replaced. If the last password has expired, Redis says so.
      return password
    }
  }
}

function parseAddressMap(text: string): Map<string, Address> {
  const map = new Map<string, Address>()
  for (const pair of text.split(',').filter(pair => pair.trim() !== '')) {
    const [announced, reachable] = pair
      .trim()
      .split('=')
      .map(text => parseAddress(text, ''))
    if (
      announced === undefined ||
      reachable === undefined ||
      announced.host === '' ||
      reachable.host === '' ||
      pair.split('=').length !== 2
    ) {
      throw new SettingError(
        `REDIS_ADDRESS_MAP must hold pairs such as 10.0.0.1:6379=localhost:7001, not "${pair}"`
      )
    }
    map.set(addressKey(announced), reachable)
  }
  return map
}

function readPem(name: string, file: string): string | undefined {
  if (file === '') return undefined
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new SettingError(`${name} must name a file that can be read, but ${fileFault(error)}`)
  }
}
