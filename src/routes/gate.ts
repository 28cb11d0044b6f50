// Everything about tokens that app.ts needs: it guards scopes of routes, mints tickets, and ends
// streams. It is built only if a setting turns tokens on; the open service has no gate.
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

  /** Routes added to the scope after this call need a token. Those of streams also take tickets. */
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

  /** Keys have changed: what a removed key signed gives no rights any more. */
  keysChanged(): void {
    this.#tokens.keysChanged()
    this.rights.endWhere(caller => !this.#keys.isCurrent(signedBy(caller)))
  }
}
