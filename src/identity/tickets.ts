// A ticket stands for a token in the URL of an EventSource of another origin, which can send
// neither a header nor a cookie of this service. It gives the right to read and no other. It opens
// streams for about a minute, but not longer than its token is valid. It may be used several times,
// because an EventSource repeats its URL when the connection breaks, and takes a refusal as final.
// A stream lasts until the token expires, not only as long as the ticket. Tickets are in Redis, so
// every process accepts them. They are stored under their hash: neither reading Redis nor measuring
// how long a comparison takes reveals one.
import { createHash, randomBytes } from 'node:crypto'
import { type Caller } from './caller.js'
import { readClaims, TokenCaller } from './claims.js'
import { type Keys } from './keys.js'
import { type Members } from './members.js'

/** Where tickets are kept; the store implements it. */
export type TicketStore = {
  readonly keep: (hash: string, text: string, ttlMs: number) => Promise<void>
  readonly find: (hash: string) => Promise<string | undefined>
}

export type Ticket = { readonly ticket: string; readonly expiresAtMs: number }

const TICKET = /^[\w-]{43}$/

type Kept = {
  readonly sub: string | undefined
  readonly read: readonly string[]
  readonly expiresAtMs: number
  readonly signedBy: string | undefined
}

export class Tickets {
  readonly #store: TicketStore
  readonly #keys: Keys
  readonly #members: Members
  readonly #ttlMs: number

  constructor(store: TicketStore, keys: Keys, members: Members, ttlMs: number) {
    this.#store = store
    this.#keys = keys
    this.#members = members
    this.#ttlMs = ttlMs
  }

  /** @throws DialogsError when the store does not answer */
  async mint({ claims, expiresAtMs, signedBy }: TokenCaller): Promise<Ticket> {
    const ticket = randomBytes(32).toString('base64url')
    const ttlMs = Math.min(this.#ttlMs, expiresAtMs - Date.now())
    const kept: Kept = {
      sub: claims.user,
      read: claims.isAdmin ? ['*'] : claims.read,
      expiresAtMs,
      signedBy
    }
    await this.#store.keep(hashOf(ticket), JSON.stringify(kept), Math.max(1, Math.floor(ttlMs)))
    return { ticket, expiresAtMs: Date.now() + ttlMs }
  }

  /**
   * The caller that a ticket stands for; undefined if it is unknown or has expired.
   * @throws DialogsError when the store does not answer
   */
  async callerOf(ticket: string): Promise<Caller | undefined> {
    if (!TICKET.test(ticket)) return undefined
    const text = await this.#store.find(hashOf(ticket))
    if (text === undefined) return undefined
    // Only `mint` writes under these keys.
    const { sub, read, expiresAtMs, signedBy } = JSON.parse(text) as Kept
    if (!this.#keys.isCurrent(signedBy) || expiresAtMs <= Date.now()) return undefined
    return new TokenCaller(readClaims({ sub, dialogs: { read } }), {
      expiresAtMs,
      signedBy,
      members: this.#members
    })
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url')
