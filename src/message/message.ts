// A message, and the two ways to refer to one: the reference in the log and the cursor of a reader.
import { DialogsError } from '../errors.js'
import { splitNumber } from '../store/keys.js'

export type Message = {
  readonly room: string
  /** 1, 2, 3 … without holes within a room. */
  readonly seq: number
  readonly user: string
  readonly text: string
  /**
   * ms since 1970, by the clock of the Redis node that stored the text: the time in its entry id.
   */
  readonly ms: number
}

/**
 * The log has this sequence, but a shard has lost the message. `ms` is 0 if even the reference is
 * lost.
 */
export type Lost = {
  readonly room: string
  readonly seq: number
  readonly ms: number
  readonly lost: true
}

export type Entry = Message | Lost

export const isLost = (entry: Entry): entry is Lost => 'lost' in entry

/**
 * A parsed `<user>.<block>/<entry id>`. `tag` is `<user>.<block>`, the hash tag of the block's key.
 */
export type Reference = {
  readonly tag: string
  readonly user: string
  readonly id: string
  readonly ms: number
}

export const formatReference = (tag: string, id: string): string => `${tag}/${id}`

const REFERENCE = /^(.+)\.(?:0|[1-9]\d{0,14})\/((?:0|[1-9]\d{0,15})-\d{1,16})$/

/** @throws Error for anything that no version of this service has written */
export function parseReference(reference: string): Reference {
  const [, user, id] = REFERENCE.exec(reference) ?? []
  if (user === undefined || id === undefined) throw new Error(`Not a reference: ${reference}`)
  return { tag: reference.slice(0, -1 - id.length), user, id, ms: Number.parseInt(id, 10) }
}

/** The block of a user's n-th message. Messages count from 1, blocks from 0. */
export const blockOf = (n: number, blockLength: number): number => Math.floor((n - 1) / blockLength)

/** `<user>.<block>` for a user's n-th message. */
export const blockTag = (user: string, n: number, blockLength: number): string =>
  `${user}.${blockOf(n, blockLength)}`

export const blockNumber = (tag: string): number => splitNumber(tag)?.[1] ?? Number.NaN

/**
 * The id of the entry `offset` places after `first` in a group that one script appended: `5-7` and
 * 2 → `5-9`.
 */
export function entryIdAfter(first: string, offset: number): string {
  if (offset === 0) return first
  const dash = first.indexOf('-')
  return `${first.slice(0, dash + 1)}${Number(first.slice(dash + 1)) + offset}`
}

/** A reader's position: the last sequence it has, and the time of that message if known. */
export type Cursor = { readonly seq: number; readonly ms: number | undefined }

const CURSOR = /^(0|[1-9]\d{0,14})(?:-(0|[1-9]\d{0,14}))?$/

/** Parses `<seq>` or `<seq>-<ms>`. @throws DialogsError INVALID_CURSOR */
export function parseCursor(text: string): Cursor {
  const match = CURSOR.exec(text)
  if (match === null) {
    throw new DialogsError(
      'INVALID_CURSOR',
      'The cursor must be a sequence such as 42, or the id of an event such as 42-1700000000000.'
    )
  }
  return { seq: Number(match[1]), ms: match[2] === undefined ? undefined : Number(match[2]) }
}

export const formatCursor = (seq: number, ms: number): string => `${seq}-${ms}`
