import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { text as textOf } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { fates, type Fate } from '../../src/cli/fates.js'
import { readMsggenOptions } from '../../src/cli/msggen-options.js'
import { UsageError } from '../../src/cli/options.js'
import { signToken } from '../../src/cli/sign-token.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { type Behaviour, StubService } from '../support/stub-service.js'
import { until } from '../support/until.js'
import { program } from '../support/program.js'

const MSGGEN = program('cli/msggen')

t.test('one busy user posts all messages to the room, and the status is 0', async t => {
  const stub = await StubService.start(t)
  const { status, stdout, stderr } = await msggen(
    t,
    '--url',
    stub.url,
    '--room',
    'room123',
    '--user',
    'lady_gaga',
    '--count',
    '500',
    '--connections',
    '8'
  )
  t.equal(status, 0)
  t.equal(stub.stored.length, 500)
  t.ok(
    stub.stored.every(
      ({ room, user, text }) => room === 'room123' && user === 'lady_gaga' && text.length === 100
    )
  )
  t.match(
    stdout,
    /^500 sent, 500 acknowledged, 0 failed in \d+\.\d\d s: [\d,]+ messages\/s\nLatency: p50 [\d.]+ ms, p90 [\d.]+ ms, p99 [\d.]+ ms, p99\.9 [\d.]+ ms, max [\d.]+ ms\n$/
  )
  t.match(stderr, /100 % {2}500 of 500 messages {2}[\d,]+\/s {2}0 errors\n$/)
})

t.test('the numbers of the JSON summary add up, and its percentiles ascend', async t => {
  const stub = await StubService.start(t)
  const { status, summary } = await summaryOf(
    t,
    stub,
    '--count',
    '200',
    '--users',
    '5',
    '--seed',
    '7'
  )
  t.equal(status, 0)
  t.match(summary, {
    sent: 200,
    acknowledged: 200,
    failed: 0,
    overdue: 0,
    retries: 0,
    isStopped: false,
    failures: { length: 0 },
    seed: 7
  })
  const { p50 = NaN, p90 = NaN, p99 = NaN, 'p99.9': p999 = NaN, max = NaN } = summary.latencyMs
  t.ok(
    p50 > 0 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max && max <= summary.elapsedMs,
    JSON.stringify(summary.latencyMs)
  )
  const rate = (200 / summary.elapsedMs) * 1000
  t.ok(
    Math.abs(summary.ratePerSecond - rate) <= rate / 50,
    `${summary.ratePerSecond}/s of ${rate}/s`
  )
})

t.test('without a count it posts a thousand messages', async t => {
  const stub = await StubService.start(t)
  t.match(await summaryOf(t, stub), { status: 0, summary: { sent: 1000 } })
})

t.test('many users write unevenly to many rooms', async t => {
  const stub = await StubService.start(t)
  await summaryOf(
    t,
    stub,
    '--rooms',
    '4',
    '--users',
    '50',
    '--user',
    'lady_gaga',
    '--zipf',
    '1.2',
    '--seed',
    '1',
    '--count',
    '1000'
  )
  const users = new Map<string, number>()
  for (const { user } of stub.stored) users.set(user, (users.get(user) ?? 0) + 1)
  const [busiest] = [...users].sort((a, b) => b[1] - a[1])
  t.equal(busiest?.[0], 'lady_gaga')
  t.ok(users.size > 20)
  for (let room = 1; room <= 4; room++) {
    t.equal(stub.stored.filter(message => message.room === `room123-${room}`).length, 250)
  }
})

t.test('the same seed posts the same messages again, another seed posts others', async t => {
  const posted = async (seed: string): Promise<string[]> => {
    const stub = await StubService.start(t)
    await summaryOf(
      t,
      stub,
      '--users',
      '50',
      '--seed',
      seed,
      '--count',
      '100',
      '--connections',
      '4'
    )
    return stub.stored.map(({ user, text }) => `${user}: ${text}`).sort()
  }
  const [one, same, other] = [await posted('7'), await posted('7'), await posted('8')]
  t.strictSame(one, same)
  t.notSame(one, other)
})

t.test('without --seed a seed is chosen and printed, so that the run can be repeated', async t => {
  const stub = await StubService.start(t)
  const { stdout } = await msggen(
    t,
    '--url',
    stub.url,
    '--users',
    '50',
    '--count',
    '50',
    '--connections',
    '1'
  )
  const seed = /\nUsers drawn with --seed (\d+)\n$/.exec(stdout)?.[1] ?? ''
  const again = await StubService.start(t)
  await msggen(
    t,
    '--url',
    again.url,
    '--users',
    '50',
    '--count',
    '50',
    '--connections',
    '1',
    '--seed',
    seed
  )
  t.strictSame(
    again.stored.map(({ user }) => user),
    stub.stored.map(({ user }) => user)
  )
})

t.test(
  'failures are counted by status and code, the most frequent first, and the exit status is 1',
  async t => {
    const stub = await StubService.start(t, failing)
    const { status, summary } = await summaryOf(t, stub, '--count', '70', '--connections', '4')
    t.equal(status, 1)
    t.match(summary, { sent: 70, acknowledged: 48, failed: 22 })
    t.match(summary.failures[0], {
      status: 503,
      code: 'OVERLOADED',
      count: 12,
      example: 'Try again later.'
    })
    t.equal(
      summary.failures
        .filter(({ status }) => status === null)
        .reduce((sum, { count }) => sum + count, 0),
      10
    )
  }
)

t.test('the text names the failures and gives an example', async t => {
  const stub = await StubService.start(t, failing)
  const { status, stdout, stderr } = await msggen(
    t,
    '--url',
    stub.url,
    '--count',
    '70',
    '--connections',
    '1'
  )
  t.equal(status, 1)
  t.match(stdout, /70 sent, 48 acknowledged, 22 failed/)
  t.match(stdout, /Failed: 12 × 503 OVERLOADED, for example: Try again later\.\n/)
  t.match(stderr, /22 errors\n$/)
})

t.test('one failure is enough for exit status 1', async t => {
  const stub = await StubService.start(t, ({ index }) => (index === 99 ? OVERLOADED : 'store'))
  t.match(await summaryOf(t, stub, '--count', '100'), {
    status: 1,
    summary: { acknowledged: 99, failed: 1 }
  })
})

t.test('with idempotency keys, no message fails on the same service', async t => {
  const stub = await StubService.start(t, failing)
  const { status, summary } = await summaryOf(
    t,
    stub,
    '--count',
    '70',
    '--connections',
    '4',
    '--idempotent'
  )
  t.equal(status, 0)
  t.match(summary, { sent: 70, acknowledged: 70, failed: 0 })
  t.equal(summary.retries, stub.posts - 70)
  t.equal(stub.stored.length, 70)
})

t.test('a service that cannot be reached is named, and the exit status is 1', async t => {
  const { status, stdout } = await msggen(t, '--url', 'http://127.0.0.1:1', '--count', '3')
  t.equal(status, 1)
  t.match(stdout, /Failed: 3 × ECONNREFUSED, for example: connect ECONNREFUSED 127\.0\.0\.1:1\n/)
})

t.test('a rate and a duration determine the number of messages', async t => {
  const stub = await StubService.start(t)
  const { status, summary } = await summaryOf(t, stub, '--rate', '100', '--duration', '1.5')
  t.equal(status, 0)
  // Messages that the machine was too late for are counted as well.
  t.equal(summary.sent + summary.overdue, 150)
  t.equal(summary.acknowledged, summary.sent)
  t.equal(stub.stored.length, summary.sent)
  t.ok(summary.sent > 75, `${summary.sent} sent`)
  // The last is due 10 ms before the end.
  t.ok(summary.elapsedMs >= 1480, `${summary.elapsedMs} ms`)
})

t.test('without a terminal, progress is shown as a line a second', async t => {
  const stub = await StubService.start(t)
  const { stderr } = await msggen(t, '--url', stub.url, '--rate', '100', '--duration', '4.5')
  t.match(stderr, /^( \d\d %|100 %) {2}\d+ messages {2}\d+\/s {2}0 errors( {2}\d s left)?\n/)
  t.ok(stderr.trimEnd().split('\n').length >= 3, stderr)
})

t.test('Ctrl-C stops sending, waits for messages in flight, and prints the summary', async t => {
  let release = (): void => {}
  const released = new Promise<void>(resolve => {
    release = resolve
  })
  const stub = await StubService.start(t, async ({ index }): Promise<Behaviour> => {
    if (index >= 20) await released
    return 'store'
  })
  const run = start(t, '--url', stub.url, '--duration', '60', '--connections', '4', '--json')
  await until('four messages are in flight', () => stub.posts === 24)
  run.child.kill('SIGINT')
  await until('it says that it is waiting', () => run.stderr.includes('Waiting'))
  t.equal(run.child.exitCode, null)
  release()
  const { status, stdout } = await run.ended
  t.equal(status, 0)
  t.match(JSON.parse(stdout), { sent: 24, acknowledged: 24, failed: 0, isStopped: true })
  t.equal(stub.stored.length, 24)
})

t.test('a second Ctrl-C gives up the messages in flight, which then count as failed', async t => {
  const stub = await StubService.start(t, () => new Promise<Behaviour>(() => {}))
  const run = start(t, '--url', stub.url, '--connections', '4', '--json')
  await until('four messages are in flight', () => stub.posts === 4)
  run.child.kill('SIGINT')
  await until('it says that it is waiting', () => run.stderr.includes('Waiting'))
  run.child.kill('SIGINT')
  const { status, stdout } = await run.ended
  t.equal(status, 1)
  t.match(JSON.parse(stdout), {
    sent: 4,
    acknowledged: 0,
    failed: 4,
    isStopped: true,
    failures: { length: 1, 0: { code: 'UND_ERR_DESTROYED', count: 4 } }
  })
})

t.test('--help lists the options, and the exit status is 0', async t => {
  const { status, stdout } = await msggen(t, '--help')
  t.equal(status, 0)
  for (const name of [
    'url',
    'room',
    'rooms',
    'user',
    'users',
    'zipf',
    'seed',
    'count',
    'duration',
    'rate',
    'connections',
    'text-size',
    'idempotent',
    'token',
    'change',
    'delete',
    'json',
    'help'
  ]) {
    t.match(stdout, `  --${name} `.trimEnd())
  }
})

t.test('wrong usage is explained, nothing is sent, and the exit status is 2', async t => {
  const stub = await StubService.start(t)
  const { status, stdout, stderr } = await msggen(t, '--url', stub.url, '--count', 'many')
  t.equal(status, 2)
  t.equal(stdout, '')
  t.equal(stderr, "--count must be a whole number from 1 to 1000000000, not 'many'.\nTry --help.\n")
  t.equal(stub.posts, 0)
})

t.test('every number has its limits', async t => {
  const limits: Array<[option: string, min: number, max: number, tooFine: string | undefined]> = [
    ['count', 1, 1_000_000_000, '1.5'],
    ['rooms', 1, 100_000, '1.5'],
    ['users', 1, 1_000_000, '1.5'],
    ['zipf', 0, 10, undefined],
    ['seed', 0, 4_294_967_295, '1.5'],
    ['rate', 0.1, 1_000_000, undefined],
    ['duration', 0.1, 604_800, undefined],
    ['connections', 1, 10_000, '1.5'],
    ['text-size', 16, 65_536, '16.5'],
    ['change', 0, 100, undefined],
    ['delete', 0, 100, undefined]
  ]
  for (const [option, min, max, tooFine] of limits) {
    const read = (value: string): unknown =>
      readMsggenOptions([...(option === 'zipf' ? ['--users', '2'] : []), `--${option}=${value}`])
    t.doesNotThrow(() => read(String(min)))
    t.doesNotThrow(() => read(String(max)))
    const wrongs = [
      String(max + 1),
      '-1',
      '',
      ' ',
      '1e3',
      '0x10',
      'NaN',
      'Infinity',
      '1,000',
      ...(min > 0 ? ['0'] : []),
      ...(tooFine === undefined ? [] : [tooFine])
    ]
    for (const wrong of wrongs) {
      t.throws(
        () => read(wrong),
        {
          name: 'UsageError',
          message: new RegExp(`^--${option} must be a .*number from ${min} to ${max}, not '`)
        },
        `--${option} ${wrong}`
      )
    }
  }
})

t.test('contradictory options are refused with a reason', async t => {
  const wrongs: Array<[args: string[], message: RegExp]> = [
    [['--nope'], /Unknown option '--nope'/],
    [['stray'], /Unexpected argument 'stray'/],
    [['--count'], /--count/],
    [['--json=yes'], /--json/],
    [['--zipf', '2'], /--users/],
    [['--room', ''], /The room is empty/],
    [['--room', 'a{b}'], /The room has a brace/],
    [['--room', 'a'.repeat(63), '--rooms', '10'], /The room has more than 64/],
    [['--user', ' a'], /The user has white space/],
    [['--change', '60', '--delete', '40.5'], /at most 100 together/],
    ...[
      '',
      '127.0.0.1:8080',
      'ftp://127.0.0.1',
      'http://',
      'http://a?b',
      'http://a#b',
      'http://u:p@a'
    ].map((url): [string[], RegExp] => [['--url', url], /--url must be an address like/])
  ]
  for (const [args, message] of wrongs) {
    t.throws(() => readMsggenOptions(args), { name: 'UsageError', message }, args.join(' '))
    t.throws(() => readMsggenOptions(args), UsageError)
  }
})

t.test(
  'the real service acknowledges every message, and stores all of them in blocks of a thousand',
  async t => {
    const cluster = await startCluster(t)
    const service = await startService(t, { redisNodes: cluster.urls })
    const room = `room-${randomUUID()}`
    const { status, summary } = await summaryOf(
      t,
      service,
      '--room',
      room,
      '--user',
      'lady_gaga',
      '--count',
      '2500',
      '--idempotent'
    )
    t.match(summary, { sent: 2500, acknowledged: 2500, failed: 0, retries: 0 })
    t.equal(status, 0)

    const get = async (what: string): Promise<unknown> =>
      (await fetch(`${service.url}/rooms/${room}/${what}`)).json()
    t.match(await get('messages?limit=1'), {
      room,
      head: 2500,
      messages: { length: 1, 0: { seq: 2500, user: 'lady_gaga' } }
    })
    t.match(await get('blocks'), {
      blocks: {
        length: 3,
        0: { key: `${room}.{lady_gaga.0}`, messages: 1000 },
        1: { key: `${room}.{lady_gaga.1}`, messages: 1000 },
        2: { key: `${room}.{lady_gaga.2}`, messages: 500 }
      }
    })
  }
)

t.test('a share of the messages is changed and deleted, each by its author', async t => {
  const cluster = await startCluster(t)
  const secret = 'only-these-tests-know-this-secret-of-theirs'
  for (const token of [undefined, await signToken(secret, { isAdmin: true, ttlS: 600 })]) {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: token === undefined ? {} : { AUTH_JWT_SECRET: secret }
    })
    const room = `room-${randomUUID()}`
    const { status, summary } = await summaryOf(
      t,
      service,
      ...['--room', room, '--users', '5', '--seed', '3', '--count', '200', '--idempotent'],
      ...['--change', '20', '--delete', '12.5'],
      ...(token === undefined ? [] : ['--token', token])
    )
    t.equal(status, 0)
    t.match(summary, { sent: 200, acknowledged: 200, failed: 0, changed: 40, deleted: 25 })
    const answer = await fetch(`${service.url}/rooms/${room}/messages?limit=1000`, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
    })
    // PageAnswer in src/routes/schemas.ts.
    const { messages } = (await answer.json()) as {
      messages: Array<{ changes?: number; deleted?: true; text?: string; changed?: string }>
    }
    const written = messages.filter(({ changes }) => changes === undefined)
    t.equal(messages.length, 265)
    t.equal(written.filter(({ deleted }) => deleted === true).length, 25)
    const changed = written.filter(({ text }) => text?.endsWith('(changed)') === true)
    t.equal(changed.length, 40)
  }
})

t.test('a change that is refused makes the run fail', async t => {
  const cluster = await startCluster(t)
  const secret = 'only-these-tests-know-this-secret-of-theirs'
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: { AUTH_JWT_SECRET: secret, WRITES_PER_MINUTE_MAX: '10' }
  })
  const token = await signToken(secret, { user: 'ann', write: ['a'], ttlS: 600 })
  const { status, summary } = await summaryOf(
    t,
    { url },
    ...['--room', 'a', '--user', 'ann', '--count', '8', '--connections', '1', '--change', '50'],
    ...['--token', token]
  )
  t.equal(status, 1)
  t.match(summary, { sent: 8, failures: { 0: { status: 429, code: 'RATE_LIMITED' } } })
  t.ok(summary.changed < 4 && summary.failed > 0, JSON.stringify(summary))
})

t.test('which messages are changed and deleted depends on the shares alone', t => {
  const count = (changed: number, deleted: number, messages: number): Record<Fate, number> => {
    const counts: Record<Fate, number> = { kept: 0, changed: 0, deleted: 0 }
    const fateOf = fates(changed, deleted)
    for (let index = 0; index < messages; index++) counts[fateOf(index)]++
    return counts
  }
  t.strictSame(count(0, 0, 1000), { kept: 1000, changed: 0, deleted: 0 })
  t.strictSame(count(100, 0, 1000), { kept: 0, changed: 1000, deleted: 0 })
  t.strictSame(count(0, 100, 1000), { kept: 0, changed: 0, deleted: 1000 })
  t.strictSame(count(50, 50, 1000), { kept: 0, changed: 500, deleted: 500 })
  t.strictSame(count(10, 10, 1000), { kept: 800, changed: 100, deleted: 100 })
  t.strictSame(count(10, 10, 20), { kept: 16, changed: 2, deleted: 2 }, 'also in a short run')
  t.end()
})

const OVERLOADED: Behaviour = {
  status: 503,
  body: { statusCode: 503, code: 'OVERLOADED', message: 'Try again later.' }
}

// Of the first 70 posts, 10 are stored and cut off, 12 are refused.
const failing = ({ index }: { index: number }): Behaviour =>
  index % 7 === 0 ? 'store-and-cut' : index % 5 === 0 ? OVERLOADED : 'store'

type Summary = {
  sent: number
  acknowledged: number
  failed: number
  overdue: number
  retries: number
  changed: number
  deleted: number
  isStopped: boolean
  elapsedMs: number
  ratePerSecond: number
  latencyMs: Record<string, number>
  failures: Array<{ status: number | null; code: string; count: number; example: string }>
  seed: number
}

async function summaryOf(
  t: Test,
  stub: { readonly url: string },
  ...args: string[]
): Promise<{ status: number | null; summary: Summary }> {
  const { status, stdout } = await msggen(t, '--url', stub.url, '--json', ...args)
  // The fields that the command promises. The tests check each of them.
  return { status, summary: JSON.parse(stdout) as Summary }
}

const msggen = (t: Test, ...args: string[]): Run['ended'] => start(t, ...args).ended

type Run = {
  readonly child: ChildProcess
  /** So far. */
  readonly stderr: string
  readonly ended: Promise<{ status: number | null; stdout: string; stderr: string }>
}

function start(t: Test, ...args: string[]): Run {
  const child = spawn(process.execPath, [MSGGEN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  const end = async (): ReturnType<typeof msggen> => {
    const [stdout] = await Promise.all([textOf(child.stdout), once(child, 'close')])
    return { status: child.exitCode, stdout, stderr }
  }
  return {
    child,
    get stderr() {
      return stderr
    },
    ended: end()
  }
}
