// The types of what the service sends, and functions that check it. The types come from the
// service's own schemas and vanish when this is compiled, with their imports (`import { type … }`
// would leave an import behind). Everything from the network is `unknown` until it was checked
// here. Only what a caller may rely on is checked.
import type { Static } from '@sinclair/typebox'
import type { DialogAnswer } from '../routes/member-schemas.js'
import type { LostAnswer, MessageAnswer } from '../routes/schemas.js'

export type Message = Static<typeof MessageAnswer> & {
  /** When its text was last changed. */
  readonly changed?: string
}
/** A place in the order whose message was lost by a shard. */
export type LostMessage = Static<typeof LostAnswer>
/** A message was edited or deleted: an entry of its own in the room's order. */
export type Change = {
  readonly room: string
  readonly seq: number
  /** The sequence of the message. */
  readonly changes: number
  readonly at: string
} & ({ readonly text: string } | { readonly deleted: true })

/** A message that was taken back: its place stays, its text and user do not. */
export type DeletedMessage = {
  readonly room: string
  readonly seq: number
  readonly deleted: true
  readonly at: string
}

export type Entry = Message | LostMessage | DeletedMessage | Change

export type MessagePage = {
  readonly room: string
  /** The last sequence of the room, 0 when it is empty. */
  readonly head: number
  /** Ascending, without a hole. */
  readonly messages: readonly Entry[]
}

export type UserCount = { readonly user: string; readonly messages: number }
export type UserPage = {
  /** Users in the room, on all pages. */
  readonly total: number
  readonly users: readonly UserCount[]
  /** `after` of the next page; null on the last one. */
  readonly next: string | null
}

/** A room of a person, and how far they have read it; `unread` 100 stands for more. */
export type Dialog = Static<typeof DialogAnswer>
export type DialogPage = {
  readonly rooms: readonly Dialog[]
  /** `before` of the next page; null on the last one. */
  readonly next: string | null
}

export type Fields = { readonly [field: string]: unknown }

/** The service never sends this: it comes from a proxy, or from another program. */
export class WrongAnswer extends Error {
  constructor(expected: string) {
    super(`The service sent something else than a ${expected}.`)
    this.name = 'WrongAnswer'
  }
}

/** An object's fields, each still unknown. @throws WrongAnswer for anything but an object */
export function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new WrongAnswer('JSON object')
  return { ...value }
}

/** @throws WrongAnswer */
export function messageOf(value: unknown): Message {
  const { room, seq, user, text, at, changed } = fieldsOf(value)
  if (
    typeof room !== 'string' ||
    typeof seq !== 'number' ||
    typeof user !== 'string' ||
    typeof text !== 'string' ||
    typeof at !== 'string'
  ) {
    throw new WrongAnswer('message')
  }
  const message = { room, seq, user, text, at }
  return typeof changed === 'string' ? { ...message, changed } : message
}

/** @throws WrongAnswer */
export function changeOf(value: unknown): Change {
  const { room, seq, changes, text, deleted, at } = fieldsOf(value)
  if (
    typeof room !== 'string' ||
    typeof seq !== 'number' ||
    typeof changes !== 'number' ||
    typeof at !== 'string'
  ) {
    throw new WrongAnswer('change')
  }
  if (deleted === true) return { room, seq, changes, at, deleted }
  if (typeof text !== 'string') throw new WrongAnswer('change')
  return { room, seq, changes, at, text }
}

/** Anything that stands in a room's order. @throws WrongAnswer */
export function entryOf(value: unknown): Entry {
  const { changes, deleted } = fieldsOf(value)
  if (changes !== undefined) return changeOf(value)
  return deleted === true ? deletedOf(value) : messageOrLostOf(value)
}

/** @throws WrongAnswer */
export function deletedOf(value: unknown): DeletedMessage {
  const { room, seq, at } = fieldsOf(value)
  if (typeof room !== 'string' || typeof seq !== 'number' || typeof at !== 'string') {
    throw new WrongAnswer('deleted message')
  }
  return { room, seq, deleted: true, at }
}

function messageOrLostOf(value: unknown): Message | LostMessage {
  const { room, seq, lost } = fieldsOf(value)
  return lost === true && typeof seq === 'number' && typeof room === 'string'
    ? { room, seq, lost }
    : messageOf(value)
}

/** @throws WrongAnswer */
export function messagePageOf(value: unknown): MessagePage {
  const { room, head, messages } = fieldsOf(value)
  if (typeof room !== 'string' || typeof head !== 'number' || !Array.isArray(messages)) {
    throw new WrongAnswer('page of messages')
  }
  return { room, head, messages: messages.map(entryOf) }
}

/** @throws WrongAnswer */
export function userPageOf(value: unknown): UserPage {
  const { total, users, next } = fieldsOf(value)
  if (typeof total !== 'number' || !Array.isArray(users)) throw new WrongAnswer('page of users')
  return {
    total,
    users: users.map(each => {
      const { user, messages } = fieldsOf(each)
      if (typeof user !== 'string' || typeof messages !== 'number') throw new WrongAnswer('user')
      return { user, messages }
    }),
    next: typeof next === 'string' ? next : null
  }
}

/** @throws WrongAnswer */
export function dialogOf(value: unknown): Dialog {
  const { room, head, read, unread, last } = fieldsOf(value)
  if (
    typeof room !== 'string' ||
    typeof head !== 'number' ||
    typeof read !== 'number' ||
    typeof unread !== 'number'
  ) {
    throw new WrongAnswer('dialog')
  }
  return { room, head, read, unread, last: last === null ? null : lastOf(last) }
}

/** @throws WrongAnswer */
export function dialogPageOf(value: unknown): DialogPage {
  const { rooms, next } = fieldsOf(value)
  if (!Array.isArray(rooms)) throw new WrongAnswer('page of dialogs')
  return { rooms: rooms.map(dialogOf), next: typeof next === 'string' ? next : null }
}

const lastOf = (value: unknown): NonNullable<Dialog['last']> =>
  fieldsOf(value)['deleted'] === true ? deletedOf(value) : messageOrLostOf(value)
