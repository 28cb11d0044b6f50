// The form: who writes, and what. The text stays in the field until it is stored, and the field stays open for typing
// meanwhile: when the answer comes, just what was stored is taken out of it.
import { find } from './find.js'
import type { Message } from './message.js'
import type { Outbox } from './outbox.js'
import { recall, remember } from './memory.js'
import { reasonOf } from './room.js'

export interface ComposerListener {
  onUser: (user: string) => void
  onStored: (message: Message) => void
}

export class Composer {
  readonly #outbox: Outbox
  readonly #listener: ComposerListener
  readonly #form = find(HTMLFormElement, '#composer')
  readonly #user = find(HTMLInputElement, '#user')
  readonly #text = find(HTMLTextAreaElement, '#text')
  readonly #notice = find(HTMLElement, '#notice')
  #isSending = false
  #isPressedAgain = false

  constructor (outbox: Outbox, listener: ComposerListener) {
    this.#outbox = outbox
    this.#listener = listener
    this.#user.value = recall('user')
    listener.onUser(this.user)

    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#press()
    })
    this.#text.addEventListener('keydown', (event) => {
      // While a word is being composed (Chinese, Japanese, Korean), Enter accepts the word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.#form.requestSubmit()
    })
    this.#user.addEventListener('change', () => {
      remember('user', this.user)
      listener.onUser(this.user)
    })
  }

  /** As the service wants names: composed (NFC), and without the white space that a phone's keyboard leaves at the end. */
  get user (): string {
    return this.#user.value.trim().normalize('NFC')
  }

  /** Shows one line below the form until the next one comes. */
  notify (kind: 'info' | 'wait' | 'error', line: string): void {
    this.#notice.dataset['kind'] = kind
    this.#notice.textContent = line
  }

  /** A press while a message is under way (the second of a double click) sends what is left in the field afterwards: nothing, or more. */
  #press (): void {
    if (this.#isSending) this.#isPressedAgain = true
    else this.#sendAll().catch((error: unknown) => this.notify('error', reasonOf(error)))
  }

  async #sendAll (): Promise<void> {
    this.#isSending = true
    this.#form.setAttribute('aria-busy', 'true')
    try {
      do {
        this.#isPressedAgain = false
        const text = this.#text.value
        if (text.trim() === '') return
        const onRetry = (error: unknown) => this.notify('wait', `${reasonOf(error)} Trying again…`)
        const message = await this.#outbox.send({ user: this.user, text }, onRetry)
        if (this.#text.value.startsWith(text)) this.#text.setRangeText('', 0, text.length, 'preserve')
        this.notify('info', '')
        this.#listener.onStored(message)
      } while (this.#isPressedAgain)
    } finally {
      this.#isSending = false
      this.#form.removeAttribute('aria-busy')
    }
  }
}
