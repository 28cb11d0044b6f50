// The names of all Redis keys and channels, and the slots they hash to. No other file spells them.
// The name of a room or user has no braces (message/names.ts), so every key can be parsed in only
// one way. A sealed segment ends in `:segment` and not in `:log`, because segment 1 of room `a`
// would otherwise have the key of the log of a room called `a.1`.
import { slotOf } from '../redis/slots.js'

export const userCountKey = (user: string): string => `user:{${user}}:count`

/**
 * A user's messages in one room: `<room>.{<user>.<block>}`. The hash tag leaves the room out,
 * because blocks are numbered per user over all rooms.
 */
export const blockKey = (room: string, block: string): string => `${room}.{${block}}`

export const logKey = (room: string): string => `room:{${room}}:log`
export const segmentKey = (room: string, segment: number): string =>
  `room:{${room}.${segment}}:segment`
export const usersKey = (room: string): string => `room:{${room}}:users`
/** How many parts the users of a large room are split into. Must never change for existing data. */
export const USERS_PARTS = 512

/**
 * A field in a room's first key of users that marks the room as split into parts. No user has this
 * name, because it has braces.
 */
export const PARTS_MARK = '{parts}'

/** The part of a large room that a user belongs to. */
export const usersPart = (user: string): number => slotOf(user) % USERS_PARTS

export const usersPartKey = (room: string, part: number): string => `${usersKey(room)}:${part}`

export const onceKey = (room: string, key: string): string => `room:{${room}}:once:${key}`

/**
 * Where a script builds a new version of a stream, before it replaces the stream. In the same slot
 * as the stream; parseKey does not know it.
 */
export const copyKey = (key: string): string => `room:${key}:copy`

/** The sharded pub/sub channel of a room. Same tag as its log, so both live on one shard. */
export const roomChannel = (room: string): string => `room:{${room}}`

/** The slot of everything kept per room: log, users, idempotency keys, channel. */
export const roomSlot = (room: string): number => slotOf(`{${room}}`)

export type KeyKind =
  | { readonly kind: 'block'; readonly room: string; readonly user: string; readonly block: number }
  | { readonly kind: 'log' | 'users'; readonly room: string }
  | { readonly kind: 'usersPart'; readonly room: string; readonly part: number }
  | { readonly kind: 'segment'; readonly room: string; readonly segment: number }
  | { readonly kind: 'once'; readonly room: string; readonly key: string }
  | { readonly kind: 'count'; readonly user: string }

/** What a key found by SCAN stands for; undefined if it is not one of ours. */
export function parseKey(key: string): KeyKind | undefined {
  const open = key.indexOf('{')
  const close = key.indexOf('}', open)
  if (open < 0 || close < 0) return undefined
  const tag = key.slice(open + 1, close)
  const before = key.slice(0, open)
  const after = key.slice(close + 1)
  if (before === 'user:' && after === ':count') return { kind: 'count', user: tag }
  if (before === 'room:' && after === ':log') return { kind: 'log', room: tag }
  if (before === 'room:' && after === ':users') return { kind: 'users', room: tag }
  if (before === 'room:' && /^:users:(?:0|[1-9]\d{0,2})$/.test(after)) {
    return { kind: 'usersPart', room: tag, part: Number(after.slice(7)) }
  }
  if (before === 'room:' && after.startsWith(':once:')) {
    return { kind: 'once', room: tag, key: after.slice(6) }
  }
  const numbered = splitNumber(tag)
  if (numbered === undefined) return undefined
  const [name, number] = numbered
  if (before === 'room:' && after === ':segment') {
    return { kind: 'segment', room: name, segment: number }
  }
  if (before.length > 1 && before.endsWith('.') && after === '') {
    return { kind: 'block', room: before.slice(0, -1), user: name, block: number }
  }
  return undefined
}

/**
 * `lady_gaga.12` → `['lady_gaga', 12]`: the number comes after the last dot, because the name may
 * have dots too.
 */
export function splitNumber(tag: string): [name: string, number: number] | undefined {
  const dot = tag.lastIndexOf('.')
  if (dot < 1) return undefined
  const digits = tag.slice(dot + 1)
  if (!/^(0|[1-9]\d{0,14})$/.test(digits)) return undefined
  return [tag.slice(0, dot), Number(digits)]
}
