// A message, and the two ways to refer to one: the reference in the log and the cursor of a reader.
import { DialogsError } from '../errors.js'
import { formatTag, parseTag } from './block-tag.js'

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
  /** When the text was last changed, by the same kind of clock; absent if it never was. */
  readonly changedMs?: number
}

/** A message that was deleted. Its place in the order stays, but its text and user are gone. */
export type Deleted = {
  readonly room: string
  readonly seq: number
  readonly ms: number
  readonly deleted: true
}

/** A change or deletion of an earlier message. It is an entry of its own in the order. */
export type Change = {
  readonly room: string
  readonly seq: number
  /** When the message was changed. */
  readonly ms: number
  /** The sequence of that message. */
  readonly changes: number
  /** Its new text; undefined when it was deleted. */
  readonly text: string | undefined
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

export type Entry = Message | Deleted | Change | Lost

export const isLost = (entry: Entry): entry is Lost => 'lost' in entry
export const isDeleted = (entry: Entry): entry is Deleted => 'deleted' in entry
export const isChange = (entry: Entry): entry is Change => 'changes' in entry
export const isMessage = (entry: Entry): entry is Message => 'user' in entry

/**
 * A parsed `<user>.<block>/<entry id>`. `tag` is `<user>.<block>`, the hash tag of the block's key;
 * in a room that was deleted it is `<user>.<block>:<generation>`.
 */
export type Reference = {
  readonly tag: string
  readonly user: string
  /**
   * Tells the block from those before a deletion of the room: the sequence up to which the room had
   * been deleted, or 0.
   */
  readonly generation: number
  readonly id: string
  /** The time of the log entry: of the message, or of the change that it tells of. */
  readonly ms: number
  /** Set if the log entry tells of a change of this message. */
  readonly change?: ChangeMark
}

/** What the log says of a change. The new text is beside the block (changes.ts). */
export type ChangeMark = {
  /** The sequence of the message. */
  readonly seq: number
  /** The first change of a message is 1, and so on. */
  readonly n: number
  readonly ms: number
  readonly isDeletion: boolean
}

export const formatReference = (tag: string, id: string): string => `${tag}/${id}`

/** `<user>.<block>/<entry id>~<seq>.<n>.<ms>`, followed by a `d` for a deletion. */
export const formatChange = (
  tag: string,
  id: string,
  { seq, n, ms, isDeletion }: ChangeMark
): string => `${formatReference(tag, id)}~${seq}.${n}.${ms}${isDeletion ? 'd' : ''}`

const REFERENCE = /^(.+)\.(?:0|[1-9]\d{0,14})(?::([1-9]\d{0,14}))?\/((?:0|[1-9]\d{0,15})-\d{1,16})$/
const CHANGE = /^(.+)~([1-9]\d{0,14})\.([1-9]\d{0,14})\.(0|[1-9]\d{0,14})(d?)$/s

/** @throws Error for anything that no version of this service has written */
export function parseReference(reference: string): Reference {
  const [, user, generation = 0, id] = REFERENCE.exec(reference) ?? []
  if (user === undefined || id === undefined) return parseChange(reference)
  return {
    tag: reference.slice(0, -1 - id.length),
    user,
    generation: Number(generation),
    id,
    ms: Number.parseInt(id, 10)
  }
}

// A user's name may have a ~ too. But a reference to a message ends in an entry id, which never
// looks like the end of a change.
function parseChange(reference: string): Reference {
  const [, target, seq, n, ms, mark] = CHANGE.exec(reference) ?? []
  if (target === undefined || !REFERENCE.test(target)) {
    throw new Error(`Not a reference: ${reference}`)
  }
  const change = { seq: Number(seq), n: Number(n), ms: Number(ms), isDeletion: mark === 'd' }
  return { ...parseReference(target), ms: change.ms, change }
}

const DELETION = '~deleted.'

/** The reference that the script of a deletion leaves in the log. */
export const formatDeletion = (ms: number): string => `${DELETION}${ms}`

/**
 * Parses `~deleted.<ms>`, which the script of a deletion leaves in the log as the reference of the
 * last entry that is gone.
 * @returns when the room was deleted; undefined if the reference is to a message, or to its change
 */
export function parseDeletion(reference: string): number | undefined {
  // Nearly always the first character decides. A user's name may begin like this too, but then the
  // reference has a slash.
  if (!reference.startsWith(DELETION) || reference.includes('/')) return undefined
  return Number(reference.slice(DELETION.length))
}

/** The time of a log entry, whatever it stands for; 0 if its reference is lost. */
export const timeOf = (reference: string | undefined): number =>
  reference === undefined ? 0 : (parseDeletion(reference) ?? parseReference(reference).ms)

/** The block of a user's n-th message. Messages count from 1, blocks from 0. */
export const blockOf = (n: number, blockLength: number): number => Math.floor((n - 1) / blockLength)

/**
 * `<user>.<block>` for a user's n-th message. In a room that was deleted, `:<generation>` follows:
 * what is written after a deletion must not share a key with what was written before.
 */
export const blockTag = (user: string, n: number, blockLength: number, generation = 0): string =>
  formatTag({ user, block: blockOf(n, blockLength), generation })

export const blockNumber = (tag: string): number => parseTag(tag)?.block ?? Number.NaN

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
