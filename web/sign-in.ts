// Asks for a token when the service wants one, and says why another one is needed. Escape
// closes it without a token. Then nothing asks again before the person wants something.
import { type Credentials } from './credentials.js'
import { find } from './find.js'

export class SignIn {
  readonly #credentials: Credentials
  readonly #dialog = find(HTMLDialogElement, '#sign-in')
  readonly #input = find(HTMLInputElement, '#token')
  #isDismissed = false

  /** @param onToken is told after the credentials have the new token */
  constructor(credentials: Credentials, onToken: () => void) {
    this.#credentials = credentials
    find(HTMLFormElement, 'form', this.#dialog).addEventListener('submit', event => {
      event.preventDefault()
      const token = this.#input.value.trim()
      if (token === '') return
      credentials.token = token
      this.#dialog.close()
      onToken()
    })
    find(HTMLButtonElement, '.cancel', this.#dialog).addEventListener('click', () => {
      this.#isDismissed = true
      this.#dialog.close()
    })
    this.#dialog.addEventListener('cancel', () => {
      this.#isDismissed = true
    })
  }

  /** The person wants something of the service: it may ask. */
  allow(): void {
    this.#isDismissed = false
  }

  /** @param reason what the service says of the token that it got */
  ask(reason: string): void {
    // Without one it tells programmers how to send one.
    const hasToken = this.#credentials.token !== ''
    find(HTMLElement, '#sign-in-fault').textContent = hasToken ? reason : ''
    if (this.#dialog.open || this.#isDismissed) return
    this.#input.value = ''
    this.#dialog.showModal()
  }
}
