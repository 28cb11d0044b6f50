// What the service sends, as types and as checks of them. The types are those of the service's own
// schemas and vanish when this is compiled, imports and all (`import { type … }` would leave the
// import in place). Everything from the network is `unknown` until it has
// passed here; only what a caller may rely on is checked.
import type { Static } from '@sinclair/typebox'
import type { LostAnswer, MessageAnswer } from '../routes/schemas.js'

export type Message = Static<typeof MessageAnswer>
/** A place in the order whose message a shard has lost. */
export type LostMessage = Static<typeof LostAnswer>
export type Entry = Message | LostMessage

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

export type Fields = { readonly [field: string]: unknown }

/** Something that no version of the service sends: a proxy's page, or another program. */
export class WrongAnswer extends Error {
  constructor(expected: string) {
    super(`The service sent something that is no ${expected}.`)
    this.name = 'WrongAnswer'
  }
}

/** An object's fields, each still unknown. @throws WrongAnswer for anything but an object */
export function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new WrongAnswer('object')
  return { ...value }
}

/** @throws WrongAnswer */
export function messageOf(value: unknown): Message {
  const { room, seq, user, text, at } = fieldsOf(value)
  if (
    typeof room !== 'string' ||
    typeof seq !== 'number' ||
    typeof user !== 'string' ||
    typeof text !== 'string' ||
    typeof at !== 'string'
  ) {
    throw new WrongAnswer('message')
  }
  return { room, seq, user, text, at }
}

/** A message, or `{ room, seq, lost: true }`. @throws WrongAnswer */
export function entryOf(value: unknown): Entry {
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
