// The names of all Redis keys and channels, and the slots they hash to. No other file spells them.
// The name of a room or user has no braces (message/names.ts), so every key can be parsed in only
// one way. A sealed segment ends in `:segment` and not in `:log`, because segment 1 of room `a`
// would otherwise have the key of the log of a room called `a.1`.
import { parseTag, splitNumber } from '../message/block-tag.js'
import { slotOf } from '../redis/slots.js'

export const userCountKey = (user: string): string => `user:{${user}}:count`

/**
 * A user's messages in one room: `<room>.{<user>.<block>}`, or
 * `<room>.{<user>.<block>:<generation>}` after the room was deleted. The hash tag leaves the room
 * out, because blocks are numbered per user over all rooms.
 */
export const blockKey = (room: string, block: string): string => `${room}.{${block}}`

export const logKey = (room: string): string => `room:{${room}}:log`
export const segmentKey = (room: string, segment: number): string =>
  `room:{${room}.${segment}}:segment`
export const usersKey = (room: string): string => `room:{${room}}:users`
/** How many parts the users of a large room are split into. Must not change for existing data. */
export const USERS_PARTS = 512

/**
 * A field in a room's first key of users that marks the room as split into parts. No user has this
 * name, because it has braces.
 */
export const PARTS_MARK = '{parts}'

/** The part of a large room that a user belongs to. */
export const usersPart = (user: string): number => slotOf(user) % USERS_PARTS

export const usersPartKey = (room: string, part: number): string => `${usersKey(room)}:${part}`

/**
 * Users who were removed from a room, and how many messages each had written there. Beyond LEFT_MAX
 * users (members.ts), further ones are in parts.
 */
export const leftKey = (room: string): string => `room:{${room}}:left`
export const leftPartKey = (room: string, part: number): string => `${leftKey(room)}:${part}`

/** A user's rooms, and how far the user has read in each. Both are split when they are large. */
export const dialogsKey = (user: string): string => `user:{${user}}:rooms`
export const dialogsPartKey = (user: string, part: number): string => `${dialogsKey(user)}:${part}`
export const readKey = (user: string): string => `user:{${user}}:read`
export const readPartKey = (user: string, part: number): string => `${readKey(user)}:${part}`

/**
 * How many parts the rooms of a user with many rooms are split into. Must not change for existing
 * data.
 */
export const DIALOGS_PARTS = 64

/** The part of a user's rooms that a room belongs to. */
export const dialogsPart = (room: string): number => slotOf(room) % DIALOGS_PARTS

/**
 * The changed and deleted messages of a block, by entry id. In the block's slot. Named like the
 * keys of a room, so that the same permission covers it.
 */
export const changedKey = (block: string): string => `room:${block}:changed`

/**
 * Up to which sequence a room was deleted, and when: `<seq> <ms>`. That sequence is the room's
 * generation.
 */
export const deletedKey = (room: string): string => `room:{${room}}:deleted`

/**
 * Which life of a deleted room is still to be cleaned: `<generation> <up to>`, two sequences. The
 * users of that life are set aside under goneUsersKey until their blocks are gone.
 */
export const goneKey = (room: string): string => `room:{${room}}:gone`
export const goneUsersKey = (key: string): string => `${key}:gone`

/** How many keys the names of rooms with an unfinished deletion are spread over. */
export const UNFINISHED_PLACES = 8
export const unfinishedKey = (place: number): string => `dialogs:{deletions.${place}}:unfinished`
export const unfinishedPlace = (room: string): number => slotOf(room) % UNFINISHED_PLACES

export const onceKey = (room: string, key: string): string => `room:{${room}}:once:${key}`

/** A ticket for streams, by its hash; expires (src/identity/tickets.ts). */
export const ticketKey = (hash: string): string => `dialogs:ticket:{${hash}}`

/**
 * Where a script builds a new version of a stream before that replaces the stream. In the slot of
 * the stream. Exists only during the script, so parseKey does not know it.
 */
export const copyKey = (key: string): string => `room:${key}:copy`

/** The sharded pub/sub channel of a room. Same tag as its log, so both live on one shard. */
export const roomChannel = (room: string): string => `room:{${room}}`

/** The sharded pub/sub channel of a person: what happens to their list of rooms (PersonNews). */
export const userChannel = (user: string): string => `user:{${user}}`

/** The room of a room's channel, or the person of a person's; undefined for other channels. */
export const roomOf = (channel: string): string | undefined => nameIn('room:{', channel)
export const userOf = (channel: string): string | undefined => nameIn('user:{', channel)

const nameIn = (prefix: string, channel: string): string | undefined =>
  channel.startsWith(prefix) && channel.endsWith('}') ? channel.slice(prefix.length, -1) : undefined

/** The channel on which every process hears who was removed from which room. */
export const REMOVALS_CHANNEL = 'dialogs:removals'

/**
 * Where the processes of the service hear of each other (peers.ts): one place on each third of the
 * slots, so that no single shard matters. `signs` and `doubts` hold what they say; `clock` is there
 * only for its expiry.
 */
export const PEER_PLACES = ['peers.13', 'peers.4', 'peers.43'].map(tag => ({
  slot: slotOf(tag),
  signs: `dialogs:{${tag}}:signs`,
  doubts: `dialogs:{${tag}}:doubts`,
  clock: `dialogs:{${tag}}:clock`
}))

export type PeerKeys = (typeof PEER_PLACES)[number]

/** The slot of everything kept per room: log, users, idempotency keys, channel. */
export const roomSlot = (room: string): number => slotOf(`{${room}}`)

/** The slot of everything that is kept per user: counter, rooms, read marks, channel. */
export const userSlot = (user: string): number => slotOf(`{${user}}`)

export type KeyKind =
  | {
      readonly kind: 'block' | 'changed'
      readonly room: string
      /** `<user>.<block>`, and in a room that was deleted `:<generation>`. */
      readonly tag: string
      readonly user: string
      readonly block: number
      readonly generation: number
    }
  | { readonly kind: 'log' | 'users' | 'left' | 'deleted' | 'gone'; readonly room: string }
  | { readonly kind: 'usersPart' | 'leftPart'; readonly room: string; readonly part: number }
  | { readonly kind: 'segment'; readonly room: string; readonly segment: number }
  | { readonly kind: 'once'; readonly room: string; readonly key: string }
  | { readonly kind: 'count' | 'dialogs' | 'read'; readonly user: string }
  | { readonly kind: 'dialogsPart' | 'readPart'; readonly user: string; readonly part: number }

/** What a key found by SCAN stands for; undefined if it is not one of ours. */
export function parseKey(key: string): KeyKind | undefined {
  const open = key.indexOf('{')
  const close = key.indexOf('}', open)
  if (open < 0 || close < 0) return undefined
  const tag = key.slice(open + 1, close)
  const before = key.slice(0, open)
  const after = key.slice(close + 1)
  if (before === 'user:') return userKey(tag, after)
  const [, kind, part, gone] = PARTED_OF_ROOM.exec(after) ?? []
  if (before === 'room:' && gone !== undefined) return { kind: 'gone', room: tag }
  if (before === 'room:' && kind !== undefined) {
    const name = kind === 'users' ? 'users' : 'left'
    return part === undefined
      ? { kind: name, room: tag }
      : { kind: `${name}Part`, room: tag, part: Number(part) }
  }
  if (before === 'room:' && after === ':log') return { kind: 'log', room: tag }
  if (before === 'room:' && after === ':deleted') return { kind: 'deleted', room: tag }
  if (before === 'room:' && after === ':gone') return { kind: 'gone', room: tag }
  if (before === 'room:' && after.startsWith(':once:')) {
    return { kind: 'once', room: tag, key: after.slice(6) }
  }
  if (before === 'room:' && after === ':segment') {
    const [room, segment] = splitNumber(tag) ?? []
    return room === undefined || segment === undefined
      ? undefined
      : { kind: 'segment', room, segment }
  }
  const place = parseTag(tag)
  if (place === undefined) return undefined
  if (before.length > 1 && before.endsWith('.') && after === '') {
    return { kind: 'block', room: before.slice(0, -1), tag, ...place }
  }
  if (
    before.startsWith('room:') &&
    before.length > 6 &&
    before.endsWith('.') &&
    after === ':changed'
  ) {
    return { kind: 'changed', room: before.slice(5, -1), tag, ...place }
  }
  return undefined
}

const PARTED_OF_ROOM = /^:(users|left)(?::(0|[1-9]\d{0,2}))?(:gone)?$/
const PARTED_OF_USER = /^:(rooms|read)(?::(0|[1-9]\d?))?$/

function userKey(user: string, after: string): KeyKind | undefined {
  if (after === ':count') return { kind: 'count', user }
  const [, kind, part] = PARTED_OF_USER.exec(after) ?? []
  if (kind === undefined) return undefined
  const name = kind === 'rooms' ? 'dialogs' : 'read'
  return part === undefined
    ? { kind: name, user }
    : { kind: `${name}Part`, user, part: Number(part) }
}
