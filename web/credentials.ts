// The token that this tab uses, if the service requires one and no cookie brings it. It is kept for
// this tab and its reloads only, and never put into an address. The page reads only the user's name
// from it; the service decides whether it is valid.
import { fieldsOf, keep, keptJson } from './memory.js'

const NAME = 'token'

export class Credentials {
  #token = String(keptJson(NAME) ?? '')

  /** Empty if there is none, or a cookie. */
  get token(): string {
    return this.#token
  }

  set token(token: string) {
    this.#token = token
    keep(NAME, token)
  }

  /** The user that the token names; empty if it names none. */
  get user(): string {
    const [, payload = ''] = this.#token.split('.')
    try {
      const binary = atob(payload.replaceAll('-', '+').replaceAll('_', '/'))
      const bytes = Uint8Array.from(binary, character => character.charCodeAt(0))
      const { sub } = fieldsOf(JSON.parse(new TextDecoder().decode(bytes)))
      return typeof sub === 'string' ? sub : ''
    } catch {
      return '' // not a JSON Web Token: the service will refuse it
    }
  }
}
