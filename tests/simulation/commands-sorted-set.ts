// Commands on sorted sets.
import { type Command, type Context } from './commands.js'
import { type Keyspace, SortedSet } from './keyspace.js'
import { ReplyError, type Value } from './resp.js'

type Make = (arity: number, run: Command['run'], needsMemory?: boolean) => Command

const FLAGS = new Set(['NX', 'XX', 'GT', 'LT', 'CH'])

function add({ db, effect }: Context, [, key = '', ...rest]: readonly string[]): Value {
  const flags = new Set<string>()
  while (FLAGS.has(rest[0]?.toUpperCase() ?? '')) flags.add(rest.shift()?.toUpperCase() ?? '')
  if (rest.length === 0 || rest.length % 2 !== 0) throw new ReplyError('ERR syntax error')
  const set = db.sortedSet(key) ?? new SortedSet()
  let added = 0
  let changed = 0
  for (let i = 0; i < rest.length; i += 2) {
    const score = Number(rest[i])
    const member = rest[i + 1] ?? ''
    const known = set.scores.get(member)
    if (Number.isNaN(score)) throw new ReplyError('ERR value is not a valid float')
    if (
      known === undefined
        ? flags.has('XX')
        : flags.has('NX') ||
          (flags.has('GT') && score <= known) ||
          (flags.has('LT') && score >= known)
    ) {
      continue
    }
    if (known === undefined) added++
    else if (known !== score) changed++
    set.scores.set(member, score)
  }
  if (set.scores.size > 0) db.set(key, set)
  effect(['ZADD', key, ...flags, ...rest])
  return flags.has('CH') ? added + changed : added
}

function remove({ db, effect }: Context, [, key = '', ...members]: readonly string[]): Value {
  const set = db.sortedSet(key)
  const found = members.filter(member => set?.scores.delete(member) === true)
  if (set?.scores.size === 0) db.delete(key)
  if (found.length > 0) effect(['ZREM', key, ...found])
  return found.length
}

function range(
  db: Keyspace,
  [, key = '', from, to, ...options]: readonly string[],
  isReverse: boolean
): Value {
  const sorted = db.sortedSet(key)?.sorted() ?? []
  if (isReverse) sorted.reverse()
  const index = (text: string | undefined): number =>
    Number(text) < 0 ? sorted.length + Number(text) : Number(text)
  const found = sorted.slice(Math.max(0, index(from)), index(to) + 1)
  return options.some(option => option.toUpperCase() === 'WITHSCORES')
    ? found.flatMap(([member, score]) => [member, String(score)])
    : found.map(([member]) => member)
}

export const sortedSetCommands = (
  read: (arity: number, run: Command['run']) => Command,
  write: Make
): Array<[string, Command]> => [
  ['ZADD', write(-4, add)],
  ['ZREM', write(-3, remove, false)],
  ['ZCARD', read(2, ({ db }, [, key = '']) => db.sortedSet(key)?.scores.size ?? 0)],
  [
    'ZSCORE',
    read(3, ({ db }, [, key = '', member = '']) => {
      const score = db.sortedSet(key)?.scores.get(member)
      return score === undefined ? null : String(score)
    })
  ],
  ['ZRANGE', read(-4, ({ db }, args) => range(db, args, false))],
  ['ZREVRANGE', read(-4, ({ db }, args) => range(db, args, true))]
]
