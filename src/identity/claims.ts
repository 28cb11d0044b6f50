// What the claims of a token mean: `sub` is the user, and `dialogs` names the rooms. Invariant: a
// claim gives a right only if it is understood exactly. A claim of the wrong shape makes the whole
// token invalid.
import { checkName } from '../message/names.js'
import { type Caller } from './caller.js'
import { type Members } from './members.js'

/** In a list, this word stands for every room of which the user is a member. */
const MEMBER = 'member'

/** The claims that this service uses, after their check. */
export type Claims = {
  readonly user: string | undefined
  readonly isAdmin: boolean
  readonly read: readonly string[]
  readonly write: readonly string[]
}

export class ClaimError extends Error {}

/** @throws ClaimError which names the wrong claim and does not quote it */
export function readClaims(payload: Readonly<Record<string, unknown>>): Claims {
  const { sub, dialogs = {} } = payload
  if (sub !== undefined && (typeof sub !== 'string' || !isName(sub))) {
    throw new ClaimError('sub must be the name of a user: 1 to 64 characters')
  }
  if (typeof dialogs !== 'object' || dialogs === null || Array.isArray(dialogs)) {
    throw new ClaimError('dialogs must be an object')
  }
  const { read = [], write = [], admin = false } = dialogs as Readonly<Record<string, unknown>>
  if (typeof admin !== 'boolean') throw new ClaimError('dialogs.admin must be true or false')
  return {
    user: sub,
    isAdmin: admin,
    read: roomList('read', read),
    write: roomList('write', write)
  }
}

function isName(text: string): boolean {
  try {
    checkName('user', text)
    return true
  } catch {
    return false
  }
}

function roomList(name: string, value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every(each => typeof each === 'string')) return value
  throw new ClaimError(`dialogs.${name} must be a list of rooms`)
}

/** Rooms by name, by prefix (with a trailing `*`), or by membership. */
class RoomList {
  readonly hasMember: boolean
  readonly #names = new Set<string>()
  readonly #prefixes: string[] = []

  constructor(list: readonly string[]) {
    this.hasMember = list.includes(MEMBER)
    for (const entry of list) {
      if (entry.endsWith('*')) this.#prefixes.push(entry.slice(0, -1))
      else if (entry !== MEMBER) this.#names.add(entry)
    }
  }

  covers(room: string): boolean {
    return this.#names.has(room) || this.#prefixes.some(prefix => room.startsWith(prefix))
  }
}

/** The caller that a token stands for. */
export class TokenCaller implements Caller {
  readonly user: string | undefined
  readonly isAdmin: boolean
  readonly expiresAtMs: number
  readonly claims: Claims
  /** The key that signed the token. Undefined if keys cannot disappear. */
  readonly signedBy: string | undefined
  readonly readRule: string
  readonly #read: RoomList
  readonly #write: RoomList
  readonly #members: Members

  constructor(
    claims: Claims,
    {
      expiresAtMs,
      signedBy,
      members
    }: {
      readonly expiresAtMs: number
      readonly signedBy?: string | undefined
      readonly members: Members
    }
  ) {
    this.claims = claims
    this.user = claims.user
    this.isAdmin = claims.isAdmin
    this.expiresAtMs = expiresAtMs
    this.signedBy = signedBy
    this.#read = new RoomList(claims.read)
    this.#write = new RoomList(claims.write)
    this.#members = members
    this.readRule = this.isAdmin || this.#read.hasMember ? 'all' : JSON.stringify(claims.read)
  }

  // Arrow functions, because they are also called without their object.
  readonly mayRead = (room: string): boolean | Promise<boolean> => this.#may(this.#read, room)
  readonly mayWrite = (room: string): boolean | Promise<boolean> => this.#may(this.#write, room)

  readonly writesAsMember = (room: string): boolean => !this.isAdmin && !this.#write.covers(room)

  readonly mayReadAsMember = (room: string): boolean =>
    this.isAdmin || this.#read.hasMember || this.#read.covers(room)

  /**
   * An operator's program has a token with `admin` and without `sub`: it writes in the name of
   * others, and says in whose.
   */
  readonly mayActAs = (user: string): boolean =>
    this.user === undefined ? this.isAdmin : this.user === user

  #may(list: RoomList, room: string): boolean | Promise<boolean> {
    if (this.isAdmin || list.covers(room)) return true
    if (!list.hasMember || this.user === undefined) return false
    return this.#members.isMember(room, this.user)
  }
}
