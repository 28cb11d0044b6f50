// The only reader of the environment. SETTINGS is the list of all settings, grouped by the part
// that takes them: the environment variable RING_BYTES_MAX in the group `live` becomes
// `config.live.ringBytesMax`. compose/README.md has the same list, and a test compares them.
import { checkCombinations } from './config/combinations.js'
import { keySource, type KeySource } from './config/identity-keys.js'
import {
  cookieName,
  days,
  daysByPrefix,
  folder,
  host,
  hostNames,
  integer,
  oneOf,
  origins,
  processes,
  proxies,
  type Setting,
  text
} from './config/kinds.js'
import { redisTarget, type RedisTarget } from './config/redis-target.js'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']
const MINUTE = 60_000
const HOUR = 60 * MINUTE

// integer(default, min, max, unit and purpose). A table reads best as one, so Prettier leaves it.
// prettier-ignore
export const SETTINGS = {
  server: {
    HOST: host('127.0.0.1',
      'address to listen on'),
    PORT: integer(8080, 0, 65_535,
      'port to listen on; 0 picks a free one'),
    WORKERS: processes(1, 64,
      'processes that share the port, or `auto` for one per processor (at most 64); all ' +
        'limits below apply to each process'),
    LISTEN_BACKLOG: integer(4096, 1, 65_535,
      'connections that may wait to be accepted; with fewer, clients that all reconnect at ' +
        'once wait whole seconds; the operating system may allow less'),
    LOG_LEVEL: oneOf(LOG_LEVELS, 'warn',
      'fatal, error, warn, info, debug, trace or silent; JSON lines on standard error')
  },

  http: {
    ALLOWED_HOSTS: hostNames(
      'comma-separated host names that requests may be addressed to; `.name` allows every ' +
        'name below it, `*` any; when empty, a service that listens on loopback allows only ' +
        'localhost, 127.0.0.1 and ::1 (against DNS rebinding), and any other service allows all'),
    REQUEST_TIMEOUT_MS: integer(30_000, 100, 10 * MINUTE,
      'ms for a request to arrive completely; a slower one is cut off after one to two times this'),
    TEXT_MAX: integer(4096, 1, 65_536,
      'characters (code points) in a message'),
    REQUESTS_MAX: integer(12_000, 1, 1_000_000,
      'requests in progress whose bodies have arrived, not counting streams; beyond this, or ' +
        'for a shard that has four times as many as are free, 503 at once, except for ' +
        '/health/live; as many again may wait for their bodies'),
    REQUESTS_BYTES_MAX: integer(64 * MIB, 64 * KIB, 4 * GIB,
      'bytes of the bodies of requests in progress that may have arrived; beyond this, 503 for ' +
        'the request whose bytes come next, but a single larger one is taken'),
    ANSWERS_BYTES_MAX: integer(64 * MIB, 64 * KIB, 4 * GIB,
      'bytes of finished pages that clients have not taken yet; beyond this, 503 for further ' +
        'pages'),
    ANSWER_READS_MAX: integer(32, 1, 10_000,
      'pages that requests read from the store at the same time, a quarter of them long ones; ' +
        'further requests wait, and clients take turns'),
    PIPELINE_MAX: integer(1000, 0, 100_000,
      'requests that may queue behind another one on the same connection; the next one gets ' +
        '503 and the connection is closed')
  },

  identity: {
    AUTH_JWT_SECRET: text('',
      'secret that signs tokens (HS256), at least 32 bytes; without this and the next two, no ' +
        'token is needed and anybody may do anything'),
    AUTH_JWT_PUBLIC_KEY: text('',
      'instead: file with the PEM public key of the tokens: RSA (RS256), P-256, P-384, P-521 ' +
        '(ES256, ES384, ES512) or Ed25519 (EdDSA)'),
    AUTH_JWKS_URL: text('',
      'instead: URL of a JSON Web Key Set, fetched every 5 minutes and when a token names an ' +
        'unknown key, at most once a second and, after the first ten times, every 6 s'),
    AUTH_AUDIENCE: text('',
      'audience (aud) that a token must name; empty: any'),
    AUTH_ISSUER: text('',
      'issuer (iss) that a token must have; empty: any'),
    AUTH_COOKIE: cookieName('token',
      'cookie that may hold the token; taken only from pages of this origin and of CORS_ORIGINS'),
    AUTH_TOKENS_MAX: integer(10_000, 1, 1_000_000,
      'verified tokens remembered while they are valid, of up to 8 KiB each'),
    AUTH_TICKET_S: integer(60, 1, 3600,
      's for which a ticket of POST /tickets opens streams'),
    AUTH_REFUSALS_PER_MINUTE_MAX: integer(120, 0, 1_000_000,
      'bad tokens and tickets per minute of an address that are answered 401; beyond this, ' +
        '429, while good tokens from there are taken as always; 0: any number; each process ' +
        'counts for itself'),
    TRUST_PROXY: proxies(
      'proxies whose X-Forwarded-For is trusted, for the limits per address: comma-separated ' +
        'addresses and networks, such as 10.0.0.0/8, or loopback, linklocal, uniquelocal; ' +
        'empty: none'),
    WRITES_PER_MINUTE_MAX: integer(0, 0, 1_000_000,
      'writes (POST, PUT, PATCH, DELETE) per minute of a user, or of an address without a ' +
        'token, which may come all at once; beyond this, 429; 0: any number; each process ' +
        'counts for itself'),
    WRITE_BYTES_PER_MINUTE_MAX: integer(0, 0, 1_000_000_000,
      'bytes of the bodies of these writes; 0: any number'),
    STREAMS_PER_USER_MAX: integer(0, 0, 1_000_000,
      'open streams of a user in a process; beyond, a client is told to come back later; 0: ' +
        'any number'),
    STREAMS_PER_ADDRESS_MAX: integer(0, 0, 1_000_000,
      'open streams of an address in a process; beyond, a client is told to come back later; ' +
        '0: any number'),
    CORS_ORIGINS: origins(
      'comma-separated origins, such as https://app.example.com, whose pages may use the ' +
        'service with cookies; `*` lets any page use it, without cookies')
  },

  redis: {
    REDIS_NODES: text('',
      'comma-separated redis:// or rediss:// URLs of some nodes, with user and password if ' +
        'needed; empty: an embedded cluster'),
    REDIS_PASSWORD_FILE: text('',
      'file with the password for REDIS_NODES; read again for each connection, so that an ' +
        'expiring password can be replaced while the service runs'),
    REDIS_PASSWORD_COMMAND: text('',
      'instead: command for /bin/sh that prints the password within 10 s, for tokens that ' +
        'expire; runs again for new connections after 5 minutes, and when Redis refuses its ' +
        'password'),
    REDIS_ADDRESS_MAP: text('',
      'comma-separated announced=reachable pairs of host:port, for nodes that announce ' +
        'addresses this process cannot reach'),
    REDIS_TLS_CA: text('',
      'file with the PEM certificate authority of rediss:// nodes'),
    REDIS_TLS_CERT: text('',
      'file with the PEM client certificate, if the nodes require one; together with ' +
        'REDIS_TLS_KEY'),
    REDIS_TLS_KEY: text('',
      'file with the PEM key of REDIS_TLS_CERT')
  },

  embedded: {
    DATA_DIR: folder('.data',
      'folder of the embedded cluster'),
    NODE_TIMEOUT_MS: integer(2000, 500, MINUTE,
      'ms of silence after which the embedded cluster considers a node dead')
  },

  cluster: {
    CONNECT_TIMEOUT_MS: integer(1000, 50, MINUTE,
      'ms to open a Redis connection'),
    // A WAIT for replicas may take 500 ms; it must not look like a dead connection.
    COMMAND_TIMEOUT_MS: integer(2000, 601, MINUTE,
      'ms without any reply after which a Redis connection is given up; more than 600'),
    STORE_DEADLINE_MS: integer(10_000, 100, 2 * MINUTE,
      'ms after which a write or read that Redis has not answered fails with 503'),
    TOPOLOGY_REFRESH_MS: integer(5000, 100, 10 * MINUTE,
      'ms between looks at the cluster\'s topology while nothing seems wrong'),
    COMMAND_CONNECTIONS: integer(1, 1, 16,
      'connections to each node for commands other than writes'),
    WRITE_CONNECTIONS: integer(1, 1, 16,
      'write connections to each master; with one, everything that arrives while a group is ' +
        'being acknowledged becomes the next group'),
    REPLICA_ACKS: integer(1, 0, 5,
      'replicas that must acknowledge a write, as far as that many are connected')
  },

  store: {
    BLOCK_LENGTH: integer(1000, 1, 100_000,
      'messages of a user in one block; must never change for existing data'),
    SEGMENT_LENGTH: integer(1024, 16, 65_536,
      'log entries in a sealed segment; must never change for existing data'),
    IDEMPOTENCY_TTL_S: integer(86_400, 1, 2_592_000,
      's for which an Idempotency-Key is remembered'),
    RETENTION_DAYS: days(
      'days after which messages are gone, such as 30 or 0.5; empty or 0 keeps them for ever'),
    RETENTION_DAYS_BY_PREFIX: daysByPrefix(
      'the same for rooms whose names begin with a prefix, such as team-:7,audit-:0; the ' +
        'longest prefix counts'),
    GROUP_LENGTH_MAX: integer(256, 1, 4096,
      'messages committed in one group'),
    QUEUE_LENGTH_MAX: integer(10_000, 1, 1_000_000,
      'POSTs that may wait for the store; beyond this, or for a shard that has four times as ' +
        'many places as are free, 503 at once'),
    QUEUE_BYTES_MAX: integer(64 * MIB, KIB, 4 * GIB,
      'bytes of memory that waiting POSTs may take; beyond this, or for a shard that has four ' +
        'times as many as are free, 503 at once, but a single larger one is taken'),
    LOST_PATIENCE_MS: integer(3000, 0, MINUTE,
      'ms for which a reader waits for a message of the last 90 s whose text is missing: ' +
        'after a failover its writer may put it back')
  },

  live: {
    STREAMS_MAX: integer(15_000, 1, 1_000_000,
      'open streams; beyond this, clients are told at once to come back later'),
    ROOMS_PER_STREAM_MAX: integer(100, 1, 1000,
      'rooms on one stream'),
    HEARTBEAT_MS: integer(15_000, 100, 10 * MINUTE,
      'ms of silence after which a stream gets a heartbeat (event: ping); a client that hears ' +
        'nothing for longer has lost its connection'),
    RETRY_MS: integer(1000, 0, 10 * MINUTE,
      'ms after which an EventSource reconnects; sent at the start of each stream'),
    DRAIN_MS: integer(3000, 0, 10 * MINUTE,
      'ms over which streams are ended when the service stops'),
    SOCKET_BYTES_MAX: integer(64 * KIB, 16 * KIB, 64 * MIB,
      'bytes that may wait in one socket before its reader is held back; at least 16384'),
    STALLED_MS_MAX: integer(MINUTE, 1000, HOUR,
      'ms without taking any waiting bytes after which a client is disconnected, from a ' +
        'stream or another answer'),
    SIGNALS_PER_SECOND_MAX: integer(1000, 0, 1_000_000,
      'signals (typing and the like) that a process passes on in a second; beyond this: 429; ' +
        '0: none at all, and 403'),
    RING_LENGTH_MAX: integer(2048, 1, 1_000_000,
      'newest frames of a room kept in memory'),
    RING_BYTES_MAX: integer(MIB, KIB, GIB,
      'bytes of the newest frames of a room kept in memory'),
    RINGS_BYTES_MAX: integer(128 * MIB, KIB, 16 * GIB,
      'bytes of the rings of all rooms; beyond this, each ring keeps only its newest group'),
    EARLY_LENGTH_MAX: integer(4096, 1, 1_000_000,
      'frames of a room that arrived ahead of a gap and wait for it to close'),
    GAP_WAIT_MS: integer(10, 0, 10_000,
      'ms for which a gap may close by itself before it is read from the store'),
    PAGE_LENGTH: integer(512, 128, 10_000,
      'messages on the first page for a reader behind the ring; slow readers get shorter ' +
        'pages, down to 128'),
    PAGE_LENGTH_MAX: integer(4096, 128, 100_000,
      'messages on a page for a reader that takes pages at once; at least PAGE_LENGTH'),
    PAGE_BYTES_MAX: integer(MIB, 16 * KIB, GIB,
      'bytes at which a page of messages ends, even with fewer messages than asked for; on a ' +
        'stream estimated from the page before'),
    PAGES_BYTES_MAX: integer(16 * MIB, 0, 4 * GIB,
      'bytes of pages kept for one second, for the next reader at the same place'),
    PAGE_READS_MAX: integer(16, 1, 10_000,
      'pages that streams read from the store at the same time, a quarter of them long ones; ' +
        'rooms take turns'),
    ROOM_LINGER_MS: integer(10_000, 0, HOUR,
      'ms for which a room stays subscribed after its last reader has left'),
    AUDIT_MS: integer(15 * MINUTE, 100, 24 * HOUR,
      'ms after which a quiet room is compared with the store although nothing points to a ' +
        'lost publication'),
    RECHECK_MS: integer(10_000, 100, 10 * MINUTE,
      'ms over which all rooms are compared with the store when a process of the service has ' +
        'vanished; longer with more than 3 rooms per ms'),
    VANISHED_MS: integer(10_000, 500, MINUTE,
      'ms without a sign of life after which a process counts as vanished; a sign is given, ' +
        'and those of others are heard, five times in this time')
  }
} as const satisfies Record<string, Record<string, Setting<unknown>>>

/** `RING_BYTES_MAX` → `ringBytesMax`. */
type CamelCase<Name extends string> = Name extends `${infer Word}_${infer Rest}`
  ? `${Lowercase<Word>}${Capitalize<CamelCase<Rest>>}`
  : Lowercase<Name>

type Group = Readonly<Record<string, Setting<unknown>>>
type Values<G extends Group> = {
  readonly [Name in keyof G & string as CamelCase<Name>]: ReturnType<G[Name]['parse']>
}

export type Config = {
  readonly [G in Exclude<keyof typeof SETTINGS, 'redis'>]: Values<(typeof SETTINGS)[G]>
} & {
  /** What tokens are checked with. Undefined: the service is open. */
  readonly keys: KeySource | undefined
  /** Undefined: the embedded cluster. */
  readonly redis: RedisTarget | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads all settings. @throws SettingError that names the setting and what it may be */
export function readConfig(env: Environment = process.env): Config {
  const identity = valuesOf(SETTINGS.identity, env)
  const { redisNodes, ...companions } = valuesOf(SETTINGS.redis, env)
  const live = valuesOf(SETTINGS.live, env)
  checkCombinations(env, live)
  return {
    server: valuesOf(SETTINGS.server, env),
    http: valuesOf(SETTINGS.http, env),
    identity,
    keys: keySource(identity),
    redis: redisNodes === '' ? undefined : redisTarget(redisNodes.split(','), companions),
    embedded: valuesOf(SETTINGS.embedded, env),
    cluster: valuesOf(SETTINGS.cluster, env),
    store: valuesOf(SETTINGS.store, env),
    live
  }
}

function valuesOf<G extends Group>(group: G, env: Environment): Values<G> {
  return Object.fromEntries(
    Object.entries(group).map(([name, setting]) => [
      camelCase(name),
      // An empty variable counts as unset.
      setting.parse(name, env[name] || setting.default)
    ])
  ) as Values<G> // Object.fromEntries forgets which key has which type.
}

const camelCase = (name: string): string =>
  name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
