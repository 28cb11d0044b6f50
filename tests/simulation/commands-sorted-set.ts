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

const SYNTAX = new ReplyError('ERR syntax error')

function range(
  db: Keyspace,
  [, key = '', from = '', to = '', ...options]: readonly string[],
  isReverse: boolean
): Value {
  let byScore = false
  let reverse = isReverse
  let withScores = false
  let limit: readonly [offset: number, count: number] | undefined
  for (let i = 0; i < options.length; i++) {
    const option = options[i]?.toUpperCase()
    if (option === 'WITHSCORES') withScores = true
    else if (option === 'BYSCORE' && !isReverse) byScore = true
    else if (option === 'REV' && !isReverse) reverse = true
    else if (option === 'LIMIT' && !isReverse) {
      limit = [Number(options[++i]), Number(options[++i])]
    } else throw SYNTAX
  }
  if (limit !== undefined && !byScore) {
    throw new ReplyError(
      'ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX'
    )
  }
  const sorted = db.sortedSet(key)?.sorted() ?? []
  if (reverse) sorted.reverse()
  const index = (text: string): number =>
    Number(text) < 0 ? sorted.length + Number(text) : Number(text)
  const isWithin = ([, score]: readonly [string, number]): boolean =>
    reverse
      ? isAbove(score, to) && isAbove(-score, negative(from))
      : isAbove(score, from) && isAbove(-score, negative(to))
  const all = byScore
    ? sorted.filter(isWithin)
    : sorted.slice(Math.max(0, index(from)), index(to) + 1)
  const [offset, count] = limit ?? [0, -1]
  const found = all.slice(offset, count < 0 ? undefined : offset + count)
  return withScores
    ? found.flatMap(([member, score]) => [member, String(score)])
    : found.map(([member]) => member)
}

// A score, or one of these behind `(`.
const isAbove = (score: number, bound: string): boolean =>
  bound.startsWith('(') ? score > infinite(bound.slice(1)) : score >= infinite(bound)

const infinite = (text: string): number =>
  /^[-+]?inf$/i.test(text) ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text)

const negative = (bound: string): string =>
  bound.startsWith('(')
    ? `(${-infinite(bound.slice(1))}`.replace('Infinity', 'inf')
    : String(-infinite(bound)).replace('Infinity', 'inf')

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
