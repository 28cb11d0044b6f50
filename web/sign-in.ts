// Asks for a token when the service wants one. Asked again while it is shown, it says why. Escape
// closes it without a token: the room stays as it is, and OPEN asks again.
import { type Credentials } from './credentials.js'
import { find } from './find.js'

export class SignIn {
  readonly #dialog = find(HTMLDialogElement, '#sign-in')
  readonly #input = find(HTMLInputElement, '#token')

  /** @param onToken is told after the credentials have the new token */
  constructor(credentials: Credentials, onToken: () => void) {
    find(HTMLFormElement, 'form', this.#dialog).addEventListener('submit', event => {
      event.preventDefault()
      const token = this.#input.value.trim()
      if (token === '') return
      credentials.token = token
      this.#dialog.close()
      onToken()
    })
    find(HTMLButtonElement, '.cancel', this.#dialog).addEventListener('click', () =>
      this.#dialog.close()
    )
  }

  /** @param reason what the service says */
  ask(reason: string): void {
    find(HTMLElement, '#sign-in-fault').textContent = reason
    if (this.#dialog.open) return
    this.#input.value = ''
    this.#dialog.showModal()
  }
}
