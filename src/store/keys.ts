// The names of all Redis keys and channels, and the slots they hash to. The only place that spells
// them. A room or user name holds no brace (src/names.ts), so every key parses back to exactly one
// meaning. A sealed segment ends in `:segment`, not `:log`: else segment 1 of room `a` would be the
// log of a room called `a.1`.
import { slotOf } from '../redis/slots.js'

export const userCountKey = (user: string): string => `user:{${user}}:count`

/**
 * A user's messages in one room: `<room>.{<user>.<block>}`. The tag has no room in it: blocks are
 * counted per user.
 */
export const blockKey = (room: string, block: string): string => `${room}.{${block}}`

export const logKey = (room: string): string => `room:{${room}}:log`
export const segmentKey = (room: string, segment: number): string =>
  `room:{${room}.${segment}}:segment`
export const usersKey = (room: string): string => `room:{${room}}:users`
/**
 * The number of parts that the users of a large room are split into. Must never change over
 * existing data.
 */
export const USERS_PARTS = 512

/**
 * A field of a room's first key of users, which tells that there are parts. It has braces, which no
 * user's name has.
 */
export const PARTS_MARK = '{parts}'

/** The part of a large room that a user belongs to. */
export const usersPart = (user: string): number => slotOf(user) % USERS_PARTS

export const usersPartKey = (room: string, part: number): string => `${usersKey(room)}:${part}`

export const onceKey = (room: string, key: string): string => `room:{${room}}:once:${key}`

/**
 * What a stream is written anew under, within one script, before it takes that stream's place. In
 * the same slot, and none of the other kinds.
 */
export const copyKey = (key: string): string => `room:${key}:copy`

/** The sharded pub/sub channel of a room. Same tag as its log, so both live on one shard. */
export const roomChannel = (room: string): string => `room:{${room}}`

/** The slot of everything that is kept per room: log, users, once keys, channel. */
export const roomSlot = (room: string): number => slotOf(`{${room}}`)

export type KeyKind =
  | { readonly kind: 'block'; readonly room: string; readonly user: string; readonly block: number }
  | { readonly kind: 'log' | 'users'; readonly room: string }
  | { readonly kind: 'usersPart'; readonly room: string; readonly part: number }
  | { readonly kind: 'segment'; readonly room: string; readonly segment: number }
  | { readonly kind: 'once'; readonly room: string; readonly key: string }
  | { readonly kind: 'count'; readonly user: string }

/** What a key found by SCAN is; undefined when it is not one of ours. */
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
 * `lady_gaga.12` → `['lady_gaga', 12]`: the number stands after the last dot, the name may hold
 * dots itself.
 */
export function splitNumber(tag: string): [name: string, number: number] | undefined {
  const dot = tag.lastIndexOf('.')
  if (dot < 1) return undefined
  const digits = tag.slice(dot + 1)
  if (!/^(0|[1-9]\d{0,14})$/.test(digits)) return undefined
  return [tag.slice(0, dot), Number(digits)]
}
