// The settings: every default is valid, every limit is enforced at, below and above its value, and
// an error names the setting and what it may be.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { fileURLToPath } from 'node:url'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { readConfig, SETTINGS } from '../../src/config.js'
import { SettingError } from '../../src/config/kinds.js'
import { currentPassword } from '../../src/redis/password.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { temporaryDir } from '../support/embedded.js'

const settings = Object.entries(SETTINGS).flatMap(([group, members]) =>
  Object.entries(members).map(([name, setting]) => ({ group, name, ...setting }))
)

function refusal(env: Record<string, string>): string | undefined {
  try {
    readConfig(env)
    return undefined
  } catch (error) {
    if (error instanceof SettingError) return error.message
    throw error
  }
}

t.test('without any setting, the defaults apply and the cluster is embedded', async t => {
  const config = readConfig({})
  t.match(config, {
    server: { host: '127.0.0.1', port: 8080 },
    http: { textMax: 4096 },
    redis: undefined,
    embedded: { dataDir: '.data' },
    cluster: { replicaAcks: 1 },
    store: { blockLength: 1000, segmentLength: 1024, idempotencyTtlS: 86_400 },
    live: { ringBytesMax: 1_048_576 }
  })
})

t.test('each setting has a name, a valid default, and a description', async t => {
  const names = settings.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const { name, default: standard, about } of settings) {
    t.match(name, /^[A-Z][A-Z_]+$/)
    t.ok(about.length > 5, name)
    t.strictSame(readConfig({ [name]: standard }), readConfig({}), `${name}=${standard}`)
    t.strictSame(readConfig({ [name]: '' }), readConfig({}), `an empty ${name} is unset`)
  }
})

t.test('compose/README.md lists every setting as it is', async t => {
  const readme = readFileSync(
    fileURLToPath(new URL('../../../compose/README.md', import.meta.url)),
    'utf8'
  )
  const rows = readme.split('\n').filter(line => /^\| `[A-Z_]+` \| /.test(line))
  const wanted = settings.map(
    ({ name, default: standard, about }) =>
      `| \`${name}\` | ${standard === '' ? '' : `\`${standard}\``} | ${about} |`
  )
  t.strictSame(rows, wanted, 'in the same order')
})

t.test('each number is accepted within its limits, and refused with them outside', async t => {
  let numbers = 0
  for (const { group, name, default: standard } of settings) {
    if (!/^\d+$/.test(standard)) continue
    numbers++
    const message = refusal({ [name]: 'x' }) ?? ''
    const [, min = NaN, max = NaN] = (
      /^\w+ must be a whole number from (\d+) to (\d+), not "x"$/.exec(message) ?? []
    ).map(Number)
    t.ok(min >= 0 && min < max && Number(standard) >= min && Number(standard) <= max, message)
    // Neither may cross the default of the other.
    const beside = name.startsWith('PAGE_LENGTH')
      ? { PAGE_LENGTH: '128', PAGE_LENGTH_MAX: '100000' }
      : {}
    for (const value of [min, max]) {
      const config: unknown = readConfig({ ...beside, [name]: String(value) })
      const key = name.toLowerCase().replace(/_./g, ([, letter = '']) => letter.toUpperCase())
      t.hasStrict(config, { [group]: { [key]: value } }, `${name}=${value}`)
    }
    for (const value of [
      String(min - 1),
      String(max + 1),
      '1.5',
      '-1',
      '1e3',
      ' 5',
      '5 ',
      '0x10',
      '٣'
    ]) {
      t.equal(refusal({ [name]: value }), message.replace('"x"', `"${value}"`))
    }
  }
  t.ok(numbers > 25, `${numbers} numbers`)
})

t.test('WORKERS is a number from 1 to 64, or auto', async t => {
  for (const [text, workers] of [
    ['', 1],
    ['1', 1],
    ['2', 2],
    ['64', 64]
  ] as const) {
    t.equal(readConfig({ WORKERS: text }).server.workers, workers)
  }
  t.equal(readConfig({ WORKERS: 'auto' }).server.workers, Math.min(availableParallelism(), 64))
  for (const text of [
    '0',
    '65',
    '-1',
    '1.5',
    'AUTO',
    'automatic',
    ' 2',
    'two',
    '1e1',
    '999999999999999999999'
  ]) {
    t.throws(
      () => readConfig({ WORKERS: text }),
      { message: /^WORKERS must be .* from 1 to 64, not / },
      text
    )
  }
})

t.test('a connection that waits for a replica is not given up', async t => {
  t.match(
    refusal({ COMMAND_TIMEOUT_MS: '600' }),
    /COMMAND_TIMEOUT_MS must be a whole number from 601 to /
  )
  t.equal(readConfig({ COMMAND_TIMEOUT_MS: '601' }).cluster.commandTimeoutMs, 601)
})

t.test('an unknown log level is refused', async t => {
  for (const level of ['fatal', 'trace', 'silent']) {
    t.equal(readConfig({ LOG_LEVEL: level }).server.logLevel, level)
  }
  t.match(refusal({ LOG_LEVEL: 'verbose' }), /LOG_LEVEL must be one of fatal, .*, not "verbose"/)
})

t.test('REDIS_NODES: hosts, ports, user and password are read from URLs', async t => {
  const { redis } = readConfig({
    REDIS_NODES: 'redis://10.0.0.1:7001, redis://redis-2.example ,redis://[::1]:7003'
  })
  t.strictSame(redis?.seeds, [
    { host: '10.0.0.1', port: 7001 },
    { host: 'redis-2.example', port: 6379 },
    { host: '::1', port: 7003 }
  ])
  t.match(redis, { tls: false, tlsCa: undefined, username: undefined, password: undefined })
  t.match(redisTarget(['rediss://us%40er:p%3Ass@a:1', 'rediss://us%40er:p%3Ass@b:1']), {
    tls: true,
    username: 'us@er',
    password: 'p:ss'
  })
  t.match(redisTarget(['redis://:secret@a:1']), { username: undefined, password: 'secret' })
})

t.test('the password is read from its file each time it is needed', async t => {
  const file = join(temporaryDir(t), 'password')
  writeFileSync(file, 'first\n')
  const password = readConfig({ REDIS_NODES: 'redis://ann@a:1', REDIS_PASSWORD_FILE: file }).redis
    ?.password
  const now = async (): Promise<unknown> => await currentPassword(password)
  t.equal(await now(), 'first')
  writeFileSync(file, 'second')
  t.equal(await now(), 'second')
  writeFileSync(file, '')
  t.equal(await now(), 'second', 'the previous password, while the file is being written')
  rmSync(file)
  t.equal(await now(), 'second', 'or is gone')
  t.match(
    refusal({ REDIS_NODES: 'redis://a:1', REDIS_PASSWORD_FILE: file }),
    /^REDIS_PASSWORD_FILE must name a file with a password/
  )
  writeFileSync(file, ' \n')
  t.match(
    refusal({ REDIS_NODES: 'redis://a:1', REDIS_PASSWORD_FILE: file }),
    /^REDIS_PASSWORD_FILE must name a file with a password, but it is empty/
  )
  t.match(
    refusal({ REDIS_NODES: 'redis://:secret@a:1', REDIS_PASSWORD_FILE: file }),
    /^REDIS_NODES must hold no password/
  )
  t.match(
    refusal({ REDIS_NODES: 'redis://:secret@a:1', REDIS_PASSWORD_COMMAND: 'echo x' }),
    /^REDIS_NODES must hold no password where REDIS_PASSWORD_COMMAND is set/
  )
  t.match(
    refusal({
      REDIS_NODES: 'redis://a:1',
      REDIS_PASSWORD_COMMAND: 'echo x',
      REDIS_PASSWORD_FILE: file
    }),
    /^REDIS_PASSWORD_FILE and REDIS_PASSWORD_COMMAND cannot both be set/
  )
})

t.test('REDIS_NODES that are not URLs, or contradict each other, are refused', async t => {
  for (const nodes of [
    'localhost:6379',
    'http://a:1',
    'redis://a:1/1',
    'redis://a:1?x',
    'redis://a:1#x',
    '"redis://a:1"',
    'redis://',
    'redis://a:99999',
    'redis://a,',
    ',',
    'redis://a:1 redis://b:1'
  ]) {
    t.match(
      refusal({ REDIS_NODES: nodes }),
      /^REDIS_NODES must hold redis:\/\/ or rediss:\/\/ URLs/,
      nodes
    )
  }
  for (const nodes of [
    'redis://a:1,rediss://b:1',
    'redis://u:p@a:1,redis://a:2',
    'redis://u:p@a:1,redis://u:q@b:1'
  ]) {
    t.match(
      refusal({ REDIS_NODES: nodes }),
      /^REDIS_NODES must have the same protocol, user and password/,
      nodes
    )
  }
})

t.test('no error about a setting shows a secret, and each names the setting', async t => {
  // The password is S3kr in all of them. Characters before or after it make a URL parser take it
  // for another part of the URL.
  const mistakes = [
    'redis://:S3kr#x@a:1',
    'redis://:S3kr/x@a:1',
    'redis://:S3kr?x@a:1',
    'redis://:S3kr%@a:1',
    'redis://:x%zzS3kr@a:1',
    'redis://:x,S3kr@a:1',
    'redis://:S3kr,x@a:1',
    ':S3kr@a:1',
    'S3kr@a:1',
    'S3kr',
    'redis:/:S3kr@a:1',
    'redis//:S3kr@a:1',
    'reds://:S3kr@a:1',
    'REDIS:S3kr',
    'redis://:S3kr@a:port',
    'redis://:S3kr@a:99999',
    'redis://:S3kr@',
    'redis://:S3kr',
    'redis://u:S3kr',
    'redis://a:1:S3kr',
    '"redis://:S3kr@a:1"',
    "'redis://:S3kr@a:1'",
    'redis://:S3kr@a:1;redis://:S3kr@b:1',
    'redis://:S3kr@a:1 redis://:S3kr@b:1',
    'redis://:S3kr@a:1\nredis://:S3kr@b:1',
    'redis://u:12/S3kr@a:1',
    'redis://u:12#S3kr@a:1',
    'redis://u:12?S3kr@a:1',
    'redis://u:12?S3kr',
    'redis://:S3kr@a:1/1',
    'redis://:S3kr@a:1,redis://:other@b:1',
    'redis://:S3kr@a:1,',
    'redis://:x@S3kr@a:1',
    'redis://:S3kr@x@a:1',
    'redis://:{S3kr}<>@a b',
    'http://:S3kr@a:1',
    'redis://:S3kr@[::1',
    'redis://x:y^S3kr'
  ]
  for (const nodes of mistakes) {
    const error = t.throws(
      () => readConfig({ REDIS_NODES: nodes }),
      { message: /^REDIS_NODES / },
      nodes
    )
    t.notMatch(inspect(error, { depth: null, showHidden: true }), /S3kr/i, nodes)
  }
  for (const [name, value] of [
    ['REDIS_PASSWORD_FILE', 'S3kr'],
    ['REDIS_PASSWORD_FILE', '/nowhere/S3kr'],
    ['REDIS_TLS_CA', '-----BEGIN PRIVATE KEY-----\nS3kr']
  ] as const) {
    const error = t.throws(
      () => readConfig({ REDIS_NODES: 'rediss://a:1', [name]: value }),
      { message: name },
      `${name}=${value}`
    )
    t.notMatch(inspect(error, { depth: null, showHidden: true }), /S3kr/, value)
  }
  t.match(
    readConfig({ REDIS_NODES: 'redis://:%23S3kr%2F%40@a:1/0' }).redis,
    { password: '#S3kr/@', seeds: [{ host: 'a', port: 1 }] },
    'percent-encoded, it is accepted'
  )
})

t.test('a secret is not quoted, whichever setting it was given to, in whichever form', async t => {
  for (const { name } of settings) {
    const companions = name.startsWith('REDIS_') ? { REDIS_NODES: 'redis://a:1' } : {}
    for (const value of [
      'redis://ann:S3kr@a:1',
      'redis//ann:S3kr@a:1',
      'S3krt',
      'ann:S3krt',
      'key=S3krt',
      'a,S3krt/,b',
      ' S3krt ',
      'Bearer S3krt',
      'https://a.example/hook/S3krt',
      'https://a.example/?key=S3krt',
      'https://a.example/#S3krt',
      '-----BEGIN PRIVATE KEY-----\nS3krt\n-----END PRIVATE KEY-----'
    ]) {
      t.notMatch(refusal({ ...companions, [name]: value }) ?? '', 'S3kr', `${name}=${value}`)
    }
  }
})

t.test('a mistake that cannot be a secret is quoted', async t => {
  for (const [name, value] of [
    ['PORT', '8O'],
    ['PORT', '80 80'],
    ['RETENTION_DAYS', '30d'],
    ['RETENTION_DAYS_BY_PREFIX', 'team-=7'],
    ['LOG_LEVEL', 'verbose'],
    ['TRUST_PROXY', '10.0.0.0/33'],
    ['CORS_ORIGINS', 'https://a.example/'],
    ['CORS_ORIGINS', 'a.example'],
    ['ALLOWED_HOSTS', 'a.example:80']
  ] as const) {
    t.match(refusal({ [name]: value }), `not "${value}"`)
  }
})

t.test('HOST is an address or a name', async t => {
  for (const name of ['0.0.0.0', '::', '::1', 'fe80::1%eth0', 'localhost', 'chat-1.example.com.']) {
    t.equal(readConfig({ HOST: name }).server.host, name)
  }
  for (const name of ['localhost:8080', 'http://localhost', 'a b', 'a..b', '[::1]', '*']) {
    t.equal(refusal({ HOST: name }), 'HOST must be an address or a host name, without a port')
  }
})

t.test('settings that do nothing without another one are refused', async t => {
  for (const name of settings.map(({ name }) => name).filter(name => name.startsWith('REDIS_'))) {
    if (name === 'REDIS_NODES') continue
    t.equal(
      refusal({ [name]: 'x' }),
      `${name} is set without REDIS_NODES: an embedded cluster would be started`
    )
  }
  for (const name of ['AUTH_AUDIENCE', 'AUTH_ISSUER']) {
    t.equal(
      refusal({ [name]: 'x' }),
      `${name} is set without AUTH_JWT_SECRET or AUTH_JWT_PUBLIC_KEY or AUTH_JWKS_URL: nobody would need a token`
    )
    t.equal(refusal({ [name]: 'x', AUTH_JWT_SECRET: 's'.repeat(32) }), undefined)
  }
})

t.test('PAGE_LENGTH is at most PAGE_LENGTH_MAX', async t => {
  const refusalOf = (length: string): string | undefined =>
    refusal({ PAGE_LENGTH: length, PAGE_LENGTH_MAX: '600' })
  t.equal(refusalOf('599'), undefined)
  t.equal(refusalOf('600'), undefined)
  t.equal(
    refusalOf('601'),
    'PAGE_LENGTH must be at most PAGE_LENGTH_MAX, but is 601, and PAGE_LENGTH_MAX is 600'
  )
})

t.test('host names that are answered', async t => {
  t.strictSame(
    readConfig({ ALLOWED_HOSTS: 'Chat.example.com, .inside.example,[::1],*' }).http.allowedHosts,
    ['chat.example.com', '.inside.example', '[::1]', '*']
  )
  for (const hosts of ['http://a', 'a:80', 'a b', 'a,,b', '..a', '*.a']) {
    t.match(
      refusal({ ALLOWED_HOSTS: hosts }),
      /^ALLOWED_HOSTS must hold host names without a port/,
      hosts
    )
  }
})

t.test(
  'addresses that nodes announce are mapped to where they can be reached, IPv6 included',
  async t => {
    const { redis } = readConfig({
      REDIS_NODES: 'redis://a:1',
      REDIS_ADDRESS_MAP: '10.0.0.1:6379=localhost:7001, [fe80::1]:6379=[::1]:7002,'
    })
    t.strictSame(
      [...(redis?.addressMap ?? [])],
      [
        ['10.0.0.1:6379', { host: 'localhost', port: 7001 }],
        ['fe80::1:6379', { host: '::1', port: 7002 }]
      ]
    )
    for (const map of [
      '10.0.0.1=localhost:7001',
      'a:1',
      'a:1=b',
      'a:1=b:2=c:3',
      '=a:1',
      'a:1=b:0',
      'a:70000=b:1'
    ]) {
      t.match(
        refusal({ REDIS_NODES: 'redis://a:1', REDIS_ADDRESS_MAP: map }),
        /^REDIS_ADDRESS_MAP must hold pairs/,
        map
      )
    }
  }
)

t.test(
  'the certificate authority is read from its file, and a missing file is an error in the setting',
  async t => {
    const file = join(temporaryDir(t), 'ca.pem')
    writeFileSync(file, 'certificate')
    t.equal(
      readConfig({ REDIS_NODES: 'rediss://a:1', REDIS_TLS_CA: file }).redis?.tlsCa,
      'certificate'
    )
    t.match(refusal({ REDIS_NODES: 'rediss://a:1', REDIS_TLS_CA: `${file}.not` }), /^REDIS_TLS_CA/)
    t.match(
      readConfig({ REDIS_NODES: 'rediss://a:1', REDIS_TLS_CERT: file, REDIS_TLS_KEY: file }).redis,
      { tlsCert: 'certificate', tlsKey: 'certificate' }
    )
    for (const name of ['REDIS_TLS_CERT', 'REDIS_TLS_KEY']) {
      t.match(
        refusal({ REDIS_NODES: 'rediss://a:1', [name]: file }),
        /^REDIS_TLS_CERT and REDIS_TLS_KEY must be set together/
      )
    }
    for (const name of ['REDIS_TLS_CA', 'REDIS_TLS_CERT', 'REDIS_TLS_KEY']) {
      t.match(
        refusal({ REDIS_NODES: 'redis://a:1', [name]: file }),
        new RegExp(`^${name} is set, but`)
      )
    }
  }
)

t.test('days are from 0 to 36500, with fractions, for all rooms or by prefix', async t => {
  for (const [text, days] of [
    ['', 0],
    ['0', 0],
    ['0.5', 0.5],
    ['30', 30],
    ['36500', 36_500]
  ] as const) {
    t.equal(readConfig({ RETENTION_DAYS: text }).store.retentionDays, days)
  }
  for (const text of ['-1', '36500.1', '1e3', 'x', ' ', '1,5', 'Infinity']) {
    t.throws(() => readConfig({ RETENTION_DAYS: text }), {
      message: /^RETENTION_DAYS must be days/
    })
  }
  const name = 'RETENTION_DAYS_BY_PREFIX'
  t.strictSame(readConfig({ [name]: 'team-:7, a:b:0.5,audit-:0' }).store.retentionDaysByPrefix, [
    { prefix: 'team-', days: 7 },
    { prefix: 'a:b', days: 0.5 },
    { prefix: 'audit-', days: 0 }
  ])
  t.strictSame(readConfig({ [name]: '' }).store.retentionDaysByPrefix, [])
  for (const text of ['team-', 'team-:', ':7', 'team-:x', 'team-:7,', 'team-:36501']) {
    t.throws(() => readConfig({ [name]: text }), { message: new RegExp(`^${name} must be`) }, text)
  }
})
