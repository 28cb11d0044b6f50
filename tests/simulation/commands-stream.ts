// Commands on streams.
import { type Command, type Context } from './commands.js'
import { type Keyspace } from './keyspace.js'
import { OK, ReplyError, type Value } from './resp.js'
import {
  compare,
  format,
  NOT_POSITIVE,
  parseBound,
  parseId,
  Stream,
  type StreamEntry,
  ZERO
} from './streams.js'

type Make = (arity: number, run: Command['run'], needsMemory?: boolean) => Command

const SYNTAX = new ReplyError('ERR syntax error')

function add({ db, clockMs, effect }: Context, [, key = '', ...rest]: readonly string[]): Value {
  const mayCreate = rest[0]?.toUpperCase() !== 'NOMKSTREAM'
  const [id = '', ...fields] = mayCreate ? rest : rest.slice(1)
  if (/^(MAXLEN|MINID)$/i.test(id)) throw new Error('XADD with a limit is not simulated')
  if (fields.length < 2 || fields.length % 2 !== 0) {
    throw new ReplyError("ERR wrong number of arguments for 'xadd' command")
  }
  // Redis checks the id before it looks at the key.
  if (
    id !== '*' &&
    compare(parseId(id.endsWith('-*') ? id.slice(0, -2) : id, 0), ZERO) === 0 &&
    !id.endsWith('-*')
  ) {
    throw NOT_POSITIVE
  }
  const known = db.stream(key)
  if (known === undefined && !mayCreate) return null
  const stream = known ?? new Stream()
  const added = stream.add(id, fields, clockMs)
  db.set(key, stream)
  effect(['XADD', key, added, ...fields])
  return added
}

const reply = (entries: readonly StreamEntry[]): Value =>
  entries.map(({ id, fields }) => [format(id), fields])

function range(db: Keyspace, args: readonly string[], isReverse: boolean): Value {
  const [, key = '', first = '', second = '', ...options] = args
  const from = parseBound(isReverse ? second : first, true)
  const to = parseBound(isReverse ? first : second, false)
  if (options.length > 0 && (options.length !== 2 || options[0]?.toUpperCase() !== 'COUNT')) {
    throw SYNTAX
  }
  const count = options.length === 0 ? Infinity : Math.max(0, Number(options[1]))
  const stream = db.stream(key)
  if (stream === undefined) return []
  if (count === 0) return options.length === 0 ? [] : null
  return reply(isReverse ? stream.reverseRange(from, to, count) : stream.range(from, to, count))
}

function remove({ db, effect }: Context, [, key = '', ...ids]: readonly string[]): Value {
  const stream = db.stream(key)
  if (stream === undefined) return 0
  const deleted = stream.delete(ids.map(id => parseId(id, 0)))
  if (deleted > 0) effect(['XDEL', key, ...ids])
  return deleted
}

function trim({ db, effect }: Context, [, key = '', how = '', ...rest]: readonly string[]): Value {
  const threshold = (rest[0] === '=' || rest[0] === '~' ? rest[1] : rest[0]) ?? ''
  if (!/^(MAXLEN|MINID)$/i.test(how)) throw SYNTAX
  const isByLength = how.toUpperCase() === 'MAXLEN'
  const id = isByLength ? undefined : parseId(threshold, 0)
  const stream = db.stream(key)
  if (stream === undefined) return 0
  const trimmed = id === undefined ? stream.trimTo(Number(threshold)) : stream.trimBelow(id)
  if (trimmed > 0) effect(['XTRIM', key, how, threshold])
  return trimmed
}

function setLast(
  { db, kind, effect }: Context,
  [name = '', key = '', last = '', ...options]: readonly string[]
): Value {
  const id = parseId(last, 0)
  let added: number | undefined
  let maxDeleted: ReturnType<typeof parseId> | undefined
  for (let i = 0; i < options.length; i += 2) {
    if (options[i]?.toUpperCase() === 'ENTRIESADDED') added = Number(options[i + 1])
    else if (options[i]?.toUpperCase() === 'MAXDELETEDID') {
      maxDeleted = parseId(options[i + 1] ?? '', 0)
    } else throw SYNTAX
  }
  if (maxDeleted !== undefined && compare(id, maxDeleted) < 0) {
    throw new ReplyError(
      'ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id'
    )
  }
  const stream = db.stream(key)
  if (stream === undefined) throw new ReplyError('ERR no such key')
  stream.setLast(id, added, maxDeleted, kind === '7.0')
  effect([name, key, last, ...options])
  return OK
}

export const streamCommands = (
  read: (arity: number, run: Command['run']) => Command,
  write: Make
): Array<[string, Command]> => [
  ['XADD', write(-5, add)],
  ['XRANGE', read(-4, ({ db }, args) => range(db, args, false))],
  ['XREVRANGE', read(-4, ({ db }, args) => range(db, args, true))],
  ['XLEN', read(2, ({ db }, [, key = '']) => db.stream(key)?.entries.length ?? 0)],
  ['XDEL', write(-3, remove, false)],
  ['XTRIM', write(-4, trim, false)],
  ['XSETID', write(-3, setLast)]
]
