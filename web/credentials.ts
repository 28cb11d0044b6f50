// The token that this tab uses, where the service asks for one and no cookie brings it. It is kept
// for this tab and its reloads only, and never put into an address. What is read of the token is
// the user's name; whether the token is good is the service's to say.
import { fieldsOf, keep, keptJson } from './memory.js'

const NAME = 'token'

export class Credentials {
  #token = String(keptJson(NAME) ?? '')

  /** Empty: none, or a cookie. */
  get token(): string {
    return this.#token
  }

  set token(token: string) {
    this.#token = token
    keep(NAME, token)
  }

  /** Whose token it is; empty when it does not say. */
  get user(): string {
    const [, payload = ''] = this.#token.split('.')
    try {
      const binary = atob(payload.replaceAll('-', '+').replaceAll('_', '/'))
      const bytes = Uint8Array.from(binary, character => character.charCodeAt(0))
      const { sub } = fieldsOf(JSON.parse(new TextDecoder().decode(bytes)))
      return typeof sub === 'string' ? sub : ''
    } catch {
      return '' // no JSON Web Token: the service will refuse it
    }
  }
}
