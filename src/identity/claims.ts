// What a token's claims mean: the user in `sub`, and the rooms in `dialogs`. Invariant: what is not
// plainly understood gives no right; a claim of another shape refuses the token as a whole.
import { checkName } from '../message/names.js'
import { type Caller } from './caller.js'
import { type Members } from './members.js'

/** Stands in a list for every room of which the user is a member. */
const MEMBER = 'member'

/** The claims that matter here, checked. */
export type Claims = {
  readonly user: string | undefined
  readonly isAdmin: boolean
  readonly read: readonly string[]
  readonly write: readonly string[]
}

export class ClaimError extends Error {}

/** @throws ClaimError that says which claim is wrong, and quotes nothing */
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

/** Rooms by name, by a beginning (a trailing `*`), or by membership. */
class RoomList {
  readonly hasMember: boolean
  readonly #names = new Set<string>()
  readonly #beginnings: string[] = []

  constructor(list: readonly string[]) {
    this.hasMember = list.includes(MEMBER)
    for (const entry of list) {
      if (entry.endsWith('*')) this.#beginnings.push(entry.slice(0, -1))
      else if (entry !== MEMBER) this.#names.add(entry)
    }
  }

  covers(room: string): boolean {
    return this.#names.has(room) || this.#beginnings.some(beginning => room.startsWith(beginning))
  }
}

/** The caller whom a token stands for. */
export class TokenCaller implements Caller {
  readonly user: string | undefined
  readonly isAdmin: boolean
  readonly expiresAtMs: number
  readonly claims: Claims
  /** Which key the token was signed with, where keys may disappear. */
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

  // Arrow functions, because the routes take them from any caller.
  readonly mayRead = (room: string): boolean | Promise<boolean> => this.#may(this.#read, room)
  readonly mayWrite = (room: string): boolean | Promise<boolean> => this.#may(this.#write, room)

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
