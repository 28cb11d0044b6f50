// The form: who writes, and what. A press hands the text over to the outbox and empties the field
// at once, so typing never waits for the network. An unsent text survives a reload. A message that
// is being edited takes the draft's place until it is sent or cancelled.
import { find } from './find.js'
import { keep, keptJson, recall, remember } from './memory.js'
import { type Draft } from './outbox.js'

/**
 * What Safari reports for the Enter that accepts a composed word: the composition has already
 * ended, so `isComposing` is false.
 */
const KEY_CODE_COMPOSING = 229

export type ComposerListener = {
  readonly onUser: (user: string) => void
  /** @returns false to leave the text in the field */
  readonly onSend: (draft: Draft) => boolean
  readonly onEdited: (seq: number, draft: Draft) => void
  readonly onTyped: () => void
}

export class Composer {
  readonly #listener: ComposerListener
  readonly #draftName: string
  readonly #form = find(HTMLFormElement, '#composer')
  readonly #user = find(HTMLInputElement, '#user')
  readonly #text = find(HTMLTextAreaElement, '#text')
  readonly #notice = find(HTMLElement, '#notice')
  #edited: { readonly seq: number; readonly draft: string } | undefined

  constructor(room: string, listener: ComposerListener) {
    this.#listener = listener
    this.#draftName = `draft.${room}`
    // Each tab has its own person, who stays the same when another tab writes as somebody else.
    this.#user.value = String(keptJson('user') || recall('user'))
    keep('user', this.#user.value)
    this.#text.value = String(keptJson(this.#draftName) ?? '')

    this.#form.addEventListener('submit', event => {
      event.preventDefault()
      this.#press()
    })
    // The field keeps the focus, and a phone its keyboard.
    find(HTMLElement, '#send').addEventListener('mousedown', event => event.preventDefault())
    this.#text.addEventListener('keydown', event => this.#onKey(event))
    this.#text.addEventListener('input', () => {
      if (this.#edited === undefined) keep(this.#draftName, this.#text.value)
      listener.onTyped()
    })
    this.#user.addEventListener('change', () => {
      keep('user', this.user)
      remember('user', this.user)
      listener.onUser(this.user)
    })
  }

  /**
   * The form in which the service wants names: composed (NFC), and without the white space that a
   * phone's keyboard leaves at the end.
   */
  get user(): string {
    return this.#user.value.trim().normalize('NFC')
  }

  /** The token says who writes; nobody else can. */
  setUser(user: string): void {
    this.#user.value = user
    this.#user.readOnly = true
    this.#listener.onUser(user)
  }

  /** Shows one line below the form until the next one comes. */
  notify(kind: 'info' | 'wait' | 'error', line: string): void {
    this.#notice.dataset['kind'] = kind
    this.#notice.textContent = line
  }

  /** Puts a message into the field. Enter sends the edited text, Escape cancels. */
  edit(seq: number, text: string): void {
    this.#edited = { seq, draft: this.#edited?.draft ?? this.#text.value }
    this.#text.value = text
    this.#text.focus()
    this.#form.classList.add('editing')
    this.notify('info', `Editing #${seq}. Escape gives up.`)
  }

  #endEditing(): void {
    this.#text.value = this.#edited?.draft ?? ''
    this.#edited = undefined
    this.#form.classList.remove('editing')
    this.notify('info', '')
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape' && this.#edited !== undefined) return this.#endEditing()
    // While a word is being composed (Chinese, Japanese, Korean), Enter accepts the word.
    if (
      event.key !== 'Enter' ||
      event.shiftKey ||
      event.isComposing ||
      event.keyCode === KEY_CODE_COMPOSING
    ) {
      return
    }
    event.preventDefault()
    this.#form.requestSubmit()
  }

  #press(): void {
    const text = this.#text.value
    if (text.trim() === '') return
    const draft = { user: this.user, text }
    if (this.#edited !== undefined) {
      const { seq } = this.#edited
      this.#endEditing()
      return this.#listener.onEdited(seq, draft)
    }
    if (!this.#listener.onSend(draft)) return
    this.#text.value = ''
    keep(this.#draftName, '')
  }
}
