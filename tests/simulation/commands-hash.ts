// Commands on hashes.
import { type Command, type Context } from './commands.js'
import { ReplyError, type Value } from './resp.js'

type Make = (arity: number, run: Command['run'], needsMemory?: boolean) => Command

function setFields({ db, effect }: Context, [, key = '', ...pairs]: readonly string[]): Value {
  if (pairs.length % 2 !== 0) {
    throw new ReplyError("ERR wrong number of arguments for 'hset' command")
  }
  const hash = db.hash(key) ?? new Map<string, string>()
  let added = 0
  for (let i = 0; i < pairs.length; i += 2) {
    if (!hash.has(pairs[i] ?? '')) added++
    hash.set(pairs[i] ?? '', pairs[i + 1] ?? '')
  }
  db.set(key, hash)
  effect(['HSET', key, ...pairs])
  return added
}

function incrementField(
  { db, effect }: Context,
  [, key = '', field = '', by = '']: readonly string[]
): Value {
  if (!/^-?(0|[1-9]\d*)$/.test(by)) {
    throw new ReplyError('ERR value is not an integer or out of range')
  }
  const hash = db.hash(key) ?? new Map<string, string>()
  const known = hash.get(field) ?? '0'
  if (!/^-?(0|[1-9]\d*)$/.test(known)) throw new ReplyError('ERR hash value is not an integer')
  const number = Number(known) + Number(by)
  hash.set(field, String(number))
  db.set(key, hash)
  effect(['HINCRBY', key, field, by])
  return number
}

function deleteFields({ db, effect }: Context, [, key = '', ...fields]: readonly string[]): Value {
  const hash = db.hash(key)
  const found = fields.filter(field => hash?.delete(field) === true)
  if (hash?.size === 0) db.delete(key)
  if (found.length > 0) effect(['HDEL', key, ...found])
  return found.length
}

export const hashCommands = (
  read: (arity: number, run: Command['run']) => Command,
  write: Make
): Array<[string, Command]> => [
  ['HGET', read(3, ({ db }, [, key = '', field = '']) => db.hash(key)?.get(field) ?? null)],
  [
    'HMGET',
    read(-3, ({ db }, [, key = '', ...fields]) => {
      const hash = db.hash(key)
      return fields.map(field => hash?.get(field) ?? null)
    })
  ],
  ['HGETALL', read(2, ({ db }, [, key = '']) => [...(db.hash(key) ?? [])].flat())],
  ['HKEYS', read(2, ({ db }, [, key = '']) => [...(db.hash(key)?.keys() ?? [])])],
  ['HLEN', read(2, ({ db }, [, key = '']) => db.hash(key)?.size ?? 0)],
  [
    'HEXISTS',
    read(3, ({ db }, [, key = '', field = '']) => (db.hash(key)?.has(field) === true ? 1 : 0))
  ],
  ['HSCAN', read(-3, ({ db }, [, key = '']) => ['0', [...(db.hash(key) ?? [])].flat()])],
  ['HSET', write(-4, setFields)],
  ['HINCRBY', write(4, incrementField)],
  ['HDEL', write(-3, deleteFields, false)]
]
