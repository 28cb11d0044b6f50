// Asks for a token when the service requires one, and says why another one is needed. Escape closes
// the form without a token. Then it stays closed until the person wants something.
import { type Credentials } from './credentials.js'
import { find } from './find.js'

export class SignIn {
  readonly #credentials: Credentials
  readonly #dialog = find(HTMLDialogElement, '#sign-in')
  readonly #input = find(HTMLInputElement, '#token')
  #isDismissed = false

  /** @param onToken called after the credentials have the new token */
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

  /** The person wants something from the service, so the form may ask again. */
  allow(): void {
    this.#isDismissed = false
  }

  /** @param reason what the service says about the token that it got */
  ask(reason: string): void {
    // Without a token, the service's reason tells programmers how to send one.
    const hasToken = this.#credentials.token !== ''
    find(HTMLElement, '#sign-in-fault').textContent = hasToken ? reason : ''
    if (this.#dialog.open || this.#isDismissed) return
    this.#input.value = ''
    this.#dialog.showModal()
  }
}
