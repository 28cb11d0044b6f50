// The commands on keys that the service and its scripts send, as a table. A command that is not in
// the table fails with its name. Invariant: a write tells its replicas exactly what to do, without
// a clock or chance, so that they end up the same (`*` becomes an id, EX becomes a time).
import { hashCommands } from './commands-hash.js'
import { sortedSetCommands } from './commands-sorted-set.js'
import { streamCommands } from './commands-stream.js'
import { type Keyspace, typeOf } from './keyspace.js'
import { OK, ReplyError, Status, type Value } from './resp.js'

/**
 * Which servers a node imitates where they differ: Redis 7.0, or Redis 7.2 and later and Valkey.
 */
export type ServerKind = '7.0' | '8'

export type Context = {
  readonly db: Keyspace
  readonly clockMs: number
  readonly kind: ServerKind
  /** For the replicas. */
  readonly effect: (args: readonly string[]) => void
}

export type Command = {
  /** As in Redis: exactly this many words, or at least this many if negative. */
  readonly arity: number
  readonly isWrite: boolean
  /** Refused when memory is full. */
  readonly needsMemory: boolean
  readonly keys: (args: readonly string[]) => readonly string[]
  readonly run: (context: Context, args: readonly string[]) => Value
}

const firstKey = ([, key = '']: readonly string[]): readonly string[] => [key]
const allKeys = ([, ...keys]: readonly string[]): readonly string[] => keys

export const read = (arity: number, run: Command['run'], keys = firstKey): Command => ({
  arity,
  isWrite: false,
  needsMemory: false,
  keys,
  run
})
export const write = (
  arity: number,
  run: Command['run'],
  needsMemory = true,
  keys = firstKey
): Command => ({ arity, isWrite: true, needsMemory, keys, run })

const NOT_AN_INTEGER = new ReplyError('ERR value is not an integer or out of range')
const SYNTAX = new ReplyError('ERR syntax error')

export function integer(text: string | undefined): number {
  if (text === undefined || !/^-?(0|[1-9]\d*)$/.test(text)) throw NOT_AN_INTEGER
  return Number(text)
}

function set(
  { db, clockMs, effect }: Context,
  [, key = '', value = '', ...options]: readonly string[]
): Value {
  let expiry: number | undefined
  let mustExist: boolean | undefined
  let keepsExpiry = false
  for (let i = 0; i < options.length; i++) {
    const option = options[i]?.toUpperCase()
    if (option === 'EX' || option === 'PX' || option === 'PXAT') {
      const number = integer(options[++i])
      if (number <= 0) throw new ReplyError("ERR invalid expire time in 'set' command")
      expiry = option === 'PXAT' ? number : clockMs + (option === 'EX' ? 1000 * number : number)
    } else if (option === 'NX' || option === 'XX') mustExist = option === 'XX'
    else if (option === 'KEEPTTL') keepsExpiry = true
    else throw SYNTAX
  }
  if (mustExist !== undefined && db.values.has(key) !== mustExist) return null
  db.set(key, value)
  if (!keepsExpiry) db.expiries.delete(key)
  if (expiry !== undefined) db.expiries.set(key, expiry)
  effect([
    'SET',
    key,
    value,
    ...(expiry === undefined ? [] : ['PXAT', String(expiry)]),
    ...(keepsExpiry ? ['KEEPTTL'] : [])
  ])
  return OK
}

function increment({ db, effect }: Context, key: string, by: number): Value {
  const number = integer(db.string(key) ?? '0') + by
  db.set(key, String(number))
  effect(['INCRBY', key, String(by)])
  return number
}

function remove({ db, effect }: Context, keys: readonly string[]): Value {
  const found = keys.filter(key => db.delete(key))
  if (found.length > 0) effect(['DEL', ...found])
  return found.length
}

function expireAt({ db, effect }: Context, key: string, at: number): Value {
  if (!db.values.has(key)) return 0
  db.expiries.set(key, at)
  effect(['PEXPIREAT', key, String(at)])
  return 1
}

function rename({ db, effect }: Context, [, from = '', to = '']: readonly string[]): Value {
  const value = db.values.get(from)
  if (value === undefined) throw new ReplyError('ERR no such key')
  const expiry = db.expiries.get(from)
  db.delete(from)
  db.delete(to)
  db.set(to, value)
  if (expiry !== undefined) db.expiries.set(to, expiry)
  effect(['RENAME', from, to])
  return OK
}

function persist({ db, effect }: Context, key: string): Value {
  if (!db.expiries.delete(key)) return 0
  effect(['PERSIST', key])
  return 1
}

function timeToLive({ db, clockMs }: Context, key: string): number {
  if (!db.values.has(key)) return -2
  const at = db.expiries.get(key)
  return at === undefined ? -1 : at - clockMs
}

export const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['GET', read(2, ({ db }, [, key = '']) => db.string(key) ?? null)],
  ['SET', write(-3, set)],
  ['INCR', write(2, (context, [, key = '']) => increment(context, key, 1))],
  ['INCRBY', write(3, (context, [, key = '', by]) => increment(context, key, integer(by)))],
  ['DEL', write(-2, (context, [, ...keys]) => remove(context, keys), false, allKeys)],
  ['UNLINK', write(-2, (context, [, ...keys]) => remove(context, keys), false, allKeys)],
  [
    'EXISTS',
    read(-2, ({ db }, [, ...keys]) => keys.filter(key => db.values.has(key)).length, allKeys)
  ],
  ['TYPE', read(2, ({ db }, [, key = '']) => new Status(typeOf(db.values.get(key))))],
  [
    'EXPIRE',
    write(
      -3,
      (context, [, key = '', s]) => expireAt(context, key, context.clockMs + 1000 * integer(s)),
      false
    )
  ],
  [
    'PEXPIRE',
    write(
      -3,
      (context, [, key = '', ms]) => expireAt(context, key, context.clockMs + integer(ms)),
      false
    )
  ],
  [
    'PEXPIREAT',
    write(-3, (context, [, key = '', at]) => expireAt(context, key, integer(at)), false)
  ],
  [
    'PEXPIRETIME',
    read(2, ({ db }, [, key = '']) => (db.values.has(key) ? (db.expiries.get(key) ?? -1) : -2))
  ],
  ['PERSIST', write(2, (context, [, key = '']) => persist(context, key), false)],
  ['RENAME', write(3, rename, false, allKeys)],
  ['PTTL', read(2, (context, [, key = '']) => timeToLive(context, key))],
  [
    'TTL',
    read(2, (context, [, key = '']) => {
      const ms = timeToLive(context, key)
      return ms < 0 ? ms : Math.round(ms / 1000)
    })
  ],
  ...hashCommands(read, write),
  ...sortedSetCommands(read, write),
  ...streamCommands(read, write)
])

/**
 * Runs one command on keys. Deletes expired keys first, and tells the replicas.
 * @throws ReplyError
 */
export function runOnKeys(command: Command, context: Context, args: readonly string[]): Value {
  const { db, clockMs, effect } = context
  if (db.expiries.size > 0) {
    for (const key of command.keys(args)) {
      if (!db.isExpired(key, clockMs)) continue
      db.delete(key)
      effect(['DEL', key])
    }
  }
  return command.run(context, args)
}

export function checkArity(
  name: string,
  command: Pick<Command, 'arity'>,
  args: readonly string[]
): void {
  const { arity } = command
  if (arity >= 0 ? args.length !== arity : args.length < -arity) {
    throw new ReplyError(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)
  }
}
