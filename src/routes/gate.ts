// Everything about tokens in one place for the app: which scopes ask for one, what mints tickets,
// what ends streams. Made only when a setting turns tokens on; the open service has none of it.
import { type FastifyInstance } from 'fastify'
import { type Config } from '../config.js'
import { type Keys } from '../identity/keys.js'
import { type Members } from '../identity/members.js'
import { Tickets, type TicketStore } from '../identity/tickets.js'
import { Tokens } from '../identity/tokens.js'
import { identify } from './identify.js'
import { Refusals } from './refusals.js'
import { signedBy, StreamRights } from './stream-rights.js'

export type GateOptions = {
  readonly settings: Config['identity']
  readonly keys: Keys
  readonly members: Members
  readonly ticketStore: TicketStore
}

export class Gate {
  readonly tickets: Tickets
  readonly rights: StreamRights
  readonly #keys: Keys
  readonly #tokens: Tokens
  readonly #settings: Config['identity']
  readonly #refusals: Refusals

  constructor({ settings, keys, members, ticketStore }: GateOptions) {
    this.#settings = settings
    this.#refusals = new Refusals(settings.authRefusalsPerMinuteMax)
    this.#keys = keys
    this.tickets = new Tickets(ticketStore, keys, members, settings.authTicketS * 1000)
    this.rights = new StreamRights(members)
    this.#tokens = new Tokens({
      keys,
      members,
      audience: settings.authAudience,
      issuer: settings.authIssuer,
      rememberedMax: settings.authTokensMax
    })
  }

  /** Every route that the scope has from now on asks for a token; those of streams take tickets. */
  guard(scope: FastifyInstance, what: 'api' | 'streams'): void {
    const { authCookie, corsOrigins } = this.#settings
    identify(
      scope,
      {
        tokens: this.#tokens,
        tickets: this.tickets,
        cookie: authCookie,
        origins: corsOrigins,
        refusals: this.#refusals
      },
      { takesTickets: what === 'streams' }
    )
  }

  close(): void {
    this.rights.close()
  }

  /** Keys came or went: what they signed goes with them. */
  keysChanged(): void {
    this.#tokens.keysChanged()
    this.rights.endWhere(caller => !this.#keys.isCurrent(signedBy(caller)))
  }
}
