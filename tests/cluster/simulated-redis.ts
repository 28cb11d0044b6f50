// The simulated Redis node against a real one: both get the same random commands, including the
// service's own scripts, and must give the same answers. Nothing that is compared depends on a
// clock: ids and times are given.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { createClient, ErrorReply } from 'redis'
import t from 'tap'
import {
  COMMANDS,
  checkArity,
  runOnKeys,
  type Context,
  type ServerKind
} from '../simulation/commands.js'
import { Keyspace } from '../simulation/keyspace.js'
import { runScript } from '../simulation/lua.js'
import { ReplyError, Status, type Value } from '../simulation/resp.js'
import { findRedisServer } from '../../src/embedded/found-redis.js'
import { type Script } from '../../src/redis/script.js'
import {
  ADD_DIALOG,
  DIALOG,
  JOIN,
  LEAVE,
  MARK_READ,
  REMOVE_DIALOG
} from '../../src/store/dialog-scripts.js'
import { CHANGE, ENSURE, ENSURE_BY_COPY } from '../../src/store/block-scripts.js'
import { CLEANED, COMMIT, COMMIT_ONCE, DELETE_ROOM, SEAL } from '../../src/store/log-scripts.js'
import { TOUCH_KEY } from '../../src/store/scripts.js'
import { CLAIM, RELEASE } from '../../src/store/unfinished-deletions.js'
import { COUNT } from '../../src/store/user-scripts.js'
import { temporaryDir } from '../support/embedded.js'
import { until } from '../support/until.js'

const RUNS = 400
const KEYS = ['{t}a', '{t}b', '{t}c', '{t}d', '{t}e'] as const
const FAR_MS = 9_000_000_000_000

const key = fc.constantFrom(...KEYS)
const number = fc.integer({ min: -3, max: 9 }).map(String)
const id = fc.oneof(
  fc.constantFrom('0-*', '0-1', '0-2', '0-3', '5-1', '5-*', '5', '0-0', 'x'),
  fc.nat(9).map(n => `0-${n}`)
)
const bound = fc.oneof(
  fc.constantFrom('-', '+', '(0-1', '(0-3'),
  id.filter(text => !text.endsWith('*'))
)
const field = fc.constantFrom('f', 'g')

const score = fc.constantFrom('-inf', '+inf', '0', '2', '(2', '5')
const limit = fc.constantFrom([], ['LIMIT', '0', '1'], ['LIMIT', '1', '2'], ['LIMIT', '0', '-1'])
const byScore = fc
  .tuple(key, score, score, fc.boolean(), limit, fc.boolean())
  .map(([key, from, to, isReverse, limit, withScores]) => [
    'ZRANGE',
    key,
    from,
    to,
    'BYSCORE',
    ...(isReverse ? ['REV'] : []),
    ...limit,
    ...(withScores ? ['WITHSCORES'] : [])
  ])

const command: fc.Arbitrary<string[]> = fc.oneof(
  fc.tuple(fc.constant('GET'), key),
  fc.tuple(fc.constant('SET'), key, number),
  fc.tuple(fc.constant('SET'), key, number, fc.constant('EX'), fc.constantFrom('0', '1000000')),
  fc.tuple(fc.constant('INCRBY'), key, number),
  fc.tuple(fc.constant('DEL'), key),
  fc.tuple(fc.constant('EXISTS'), key, key),
  fc.tuple(fc.constant('TYPE'), key),
  fc.tuple(fc.constant('PEXPIREAT'), key, fc.constant(String(FAR_MS))),
  fc.tuple(fc.constant('PEXPIRETIME'), key),
  fc.tuple(fc.constant('PERSIST'), key),
  fc.tuple(fc.constant('RENAME'), key, key),
  fc.tuple(fc.constant('HINCRBY'), key, field, number),
  fc.tuple(fc.constant('HGET'), key, field),
  fc.tuple(fc.constant('HDEL'), key, field),
  fc.tuple(fc.constant('HLEN'), key),
  fc.tuple(fc.constant('HMGET'), key, field, fc.constant('h')),
  fc.tuple(fc.constant('HEXISTS'), key, field),
  fc.tuple(fc.constant('ZADD'), key, number, field),
  fc.tuple(fc.constant('ZADD'), key, fc.constant('GT'), fc.constant('CH'), number, field),
  fc.tuple(fc.constant('ZREM'), key, field),
  fc.tuple(fc.constant('ZSCORE'), key, field),
  fc.tuple(fc.constant('ZCARD'), key),
  fc.tuple(fc.constant('ZRANGE'), key, fc.constant('0'), fc.constantFrom('0', '-1')),
  fc.tuple(fc.constant('ZREVRANGE'), key, fc.constant('0'), fc.constantFrom('0', '-1')),
  byScore,
  fc.tuple(fc.constant('XADD'), key, id, fc.constant('r'), number),
  fc.tuple(fc.constant('XADD'), key, id, fc.constant('t'), number),
  fc.tuple(fc.constant('XADD'), key, fc.constant('NOMKSTREAM'), id, fc.constant('r'), number),
  fc.tuple(fc.constant('XRANGE'), key, bound, bound),
  fc.tuple(
    fc.constant('XREVRANGE'),
    key,
    bound,
    bound,
    fc.constant('COUNT'),
    fc.constantFrom('1', '2')
  ),
  fc.tuple(fc.constant('XLEN'), key),
  fc.tuple(fc.constant('XDEL'), key, id),
  fc.tuple(fc.constant('XTRIM'), key, fc.constant('MINID'), bound),
  fc.tuple(fc.constant('XTRIM'), key, fc.constant('MAXLEN'), fc.constantFrom('0', '2')),
  fc.tuple(fc.constant('XSETID'), key, id),
  fc.tuple(fc.constant('XSETID'), key, id, fc.constant('MAXDELETEDID'), id),
  fc.tuple(fc.constant('XADD'), key, fc.constant('0-*')),
  fc.tuple(fc.constant('GET'))
)

const script = (
  script: Script,
  keys: number,
  ...args: Array<fc.Arbitrary<string>>
): fc.Arbitrary<string[]> =>
  fc.tuple(
    fc.constant('EVAL'),
    fc.constant(script.text),
    fc.constant(String(keys)),
    ...KEYS.slice(0, keys).map(name => fc.constant(name)),
    ...args
  )

const reference = fc.constantFrom('ann.0/5-1', 'ann.0/5-2', 'bob.0/5-1')
const known = fc.oneof(fc.constant(''), reference)
const user = fc.constantFrom('ann', 'bob')
const scripted = fc.oneof(
  script(
    COMMIT,
    2,
    fc.nat(4).map(String),
    known,
    fc.constantFrom('0', '1'),
    fc.constant('1'),
    fc.constant('0'),
    user,
    fc.constant('2'),
    reference,
    reference
  ),
  script(
    COMMIT,
    3,
    fc.nat(4).map(String),
    known,
    fc.constant('1'),
    fc.constant('1'),
    fc.constantFrom('0', '1'),
    user,
    fc.constant('1'),
    reference
  ),
  script(
    COMMIT,
    1,
    fc.nat(4).map(String),
    known,
    fc.constantFrom('0', '1'),
    fc.constant('0'),
    fc.constant('0'),
    reference
  ),
  script(
    COMMIT_ONCE,
    5,
    reference,
    fc.constant('1000000'),
    user,
    fc.constantFrom('0', '1'),
    fc.constantFrom('0', '2'),
    fc.constantFrom('0', '1')
  ),
  script(DELETE_ROOM, 5, fc.constant('1700000000000'), fc.constantFrom('1', '3000')),
  script(CLEANED, 2, fc.constantFrom('0 2', '0 3')),
  script(CLAIM, 1, fc.constantFrom('red', 'f'), number, fc.constantFrom('', '0', '3')),
  script(RELEASE, 1, fc.constantFrom('red', 'f'), number),
  script(SEAL, 1, fc.constantFrom('1', '3'), reference, reference),
  script(ENSURE, 1, fc.constantFrom('5-1', '5-3'), fc.constant('text')),
  script(
    CHANGE,
    2,
    fc.constantFrom('5-1', '5-3'),
    fc.constantFrom('token', 'other'),
    fc.constantFrom('t', 'd'),
    fc.constantFrom('', 'new'),
    fc.constantFrom('3', '1800000000000')
  ),
  script(ENSURE_BY_COPY, 3, fc.constantFrom('5-1', '5-3'), fc.constant('text')),
  script(JOIN, 5, user, fc.constantFrom('', 'ann', 'bob')),
  script(LEAVE, 4, user, fc.constantFrom('0', '9')),
  script(ADD_DIALOG, 2, fc.constantFrom('f', 'red'), number, fc.constantFrom('1', '9')),
  script(REMOVE_DIALOG, 4, fc.constant('red')),
  script(MARK_READ, 2, fc.constantFrom('f', 'red'), fc.nat(9).map(String), fc.constant('7')),
  script(DIALOG, 1, fc.nat(3).map(String), user),
  script(COUNT, 1, user, fc.constant('1')),
  script(TOUCH_KEY, 1)
)

/**
 * A reply as plain data. Errors of scripts are compared without what a version adds to them, and an
 * error of Lua itself is compared only as being an error.
 */
function plain(value: Value): unknown {
  if (value instanceof ReplyError) return { error: errorText(value.message) }
  if (value instanceof Status) return value.text
  return Array.isArray(value) ? (value as readonly Value[]).map(plain) : value
}

const errorText = (message: string): string =>
  /(?:user_script|\[string "[^"]*"\]):\d+:/.test(message.replace(/, on @user_script:\d+\.$/, ''))
    ? 'an error of Lua'
    : message.replace(/ script: [0-9a-f]+, on @user_script:\d+\.$/, '').trim()

// A time that is relative to now differs each time.
const withoutClock = (reply: unknown): unknown =>
  typeof reply === 'number' && reply > 1e12 && reply !== FAR_MS ? 'a time' : reply

class Simulated {
  readonly #db = new Keyspace()
  readonly #context: Context

  constructor(kind: ServerKind) {
    this.#context = { db: this.#db, clockMs: 1_800_000_000_000, kind, effect: () => undefined }
  }

  run(args: readonly string[]): unknown {
    try {
      if (args[0] !== 'EVAL') return plain(this.#command(args))
      const [, text = '', count = '0', ...rest] = args
      return plain(
        runScript(
          this.#context.kind,
          createHash('sha1').update(text).digest('hex'),
          text,
          rest.slice(0, Number(count)),
          rest.slice(Number(count)),
          args => this.#command(args)
        )
      )
    } catch (error) {
      if (error instanceof ReplyError) return plain(error)
      throw error
    }
  }

  #command(args: readonly string[]): Value {
    const [name = ''] = args
    const command = COMMANDS.get(name)
    if (command === undefined) throw new Error(`${name} is not simulated`)
    checkArity(name, command, args)
    return runOnKeys(command, this.#context, args)
  }
}

t.test('a simulated node answers random commands and scripts as a real server does', async t => {
  const dir = temporaryDir(t)
  const socket = join(dir, 'redis.sock')
  const server = spawn(
    await findRedisServer(),
    ['--port', '0', '--unixsocket', socket, '--save', '', '--dir', dir],
    { stdio: 'ignore' }
  )
  t.teardown(() => {
    server.kill('SIGKILL')
  })
  await until('the server listens', () => existsSync(socket))
  const client = createClient({ socket: { path: socket } })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(async () => {
    await client.disconnect()
  })
  const version = /redis_version:(\d+\.\d+)/.exec(await client.info('server'))?.[1] ?? ''
  const real = async (args: string[]): Promise<unknown> => {
    try {
      return await client.sendCommand(args)
    } catch (error) {
      if (error instanceof ErrorReply) return { error: errorText(error.message) }
      throw error
    }
  }
  let compared = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(command, scripted), { minLength: 5, maxLength: 40 }),
      async sequence => {
        await client.sendCommand(['FLUSHALL'])
        const simulated = new Simulated(version === '7.0' ? '7.0' : '8')
        for (const args of sequence) {
          const [here, there] = [withoutClock(simulated.run(args)), withoutClock(await real(args))]
          if (JSON.stringify(here) !== JSON.stringify(there)) {
            throw new Error(
              `${args.join(' ').replaceAll('\n', ' ').slice(-90)} is answered ${JSON.stringify(here)}, and by Redis ${version} ${JSON.stringify(there)}`
            )
          }
          compared++
        }
      }
    ),
    { numRuns: RUNS }
  )
  t.comment(`${compared} answers compared with ${version}`)
  t.ok(compared >= 5 * RUNS)
})
