// A page's line to the switchboard: to the one in the SharedWorker, which all pages of the browser
// share, or to one of its own where there is no SharedWorker or it does not start. With one of its
// own a page lets go of its stream while it is hidden, for a browser allows few, and resumes behind
// its cursor when it is shown again.
import { Switchboard } from './switchboard.js'
import { type FromPage, type ToPage } from './wire.js'

/** For the worker's first word. */
const START_MS_MAX = 5000
/** A page that is only passed over, on the way to another one, keeps its stream. */
const HIDDEN_MS = 1000

type Join = Extract<FromPage, { type: 'join' }>

export class Line {
  readonly #base: string
  readonly #receive: (message: ToPage) => void
  #say: (message: FromPage) => void = () => {}
  #joined: Join | undefined

  /** @param base the address that `events` is relative to */
  constructor(base: string, receive: (message: ToPage) => void) {
    this.#base = base
    this.#receive = receive
    if (typeof SharedWorker === 'function') this.#share()
    else this.#useOwn()
    addEventListener('online', () => this.#say({ type: 'hurry' }))
    addEventListener('pagehide', () => this.#say({ type: 'leave' }))
    // Back from the browser's cache of pages, which keeps them as they were.
    addEventListener('pageshow', event => {
      if (event.persisted) this.#rejoin()
    })
  }

  join(room: string, cursor: string): void {
    this.#joined = { type: 'join', room, cursor }
    this.#rejoin()
  }

  leave(): void {
    this.#joined = undefined
    this.#say({ type: 'leave' })
  }

  #rejoin(): void {
    if (this.#joined !== undefined) this.#say(this.#joined)
  }

  #take(message: ToPage): void {
    // A message that was on its way when the page left.
    if (this.#joined === undefined && message.type !== 'roll-call') return
    if (message.type === 'roll-call') return this.#say({ type: 'here' })
    if (message.type === 'dropped') return this.#rejoin()
    if (message.type === 'reset' || message.type === 'refused') this.#joined = undefined
    if (message.type === 'entry' && this.#joined !== undefined) {
      this.#joined = { ...this.#joined, cursor: message.cursor }
    }
    this.#receive(message)
  }

  #share(): void {
    // The bundle holds the worker as well: one file, and another version has another worker.
    const worker = startWorker(import.meta.url)
    const giveUp = (): void => {
      clearTimeout(timer)
      worker.port.onmessage = null
      worker.port.close()
      this.#useOwn()
      this.#rejoin()
    }
    const timer = setTimeout(giveUp, START_MS_MAX)
    worker.onerror = giveUp
    worker.port.onmessage = ({ data }: MessageEvent<ToPage>) => {
      clearTimeout(timer)
      worker.onerror = null
      this.#take(data)
    }
    this.#say = message => worker.port.postMessage(message)
  }

  #useOwn(): void {
    const switchboard = new Switchboard(this.#base)
    const reader = { send: (message: ToPage) => this.#take(message) }
    this.#say = message => {
      if (message.type !== 'join' || !document.hidden) switchboard.receive(reader, message)
    }
    let timer: ReturnType<typeof setTimeout> | undefined
    document.addEventListener('visibilitychange', () => {
      clearTimeout(timer)
      if (document.hidden) timer = setTimeout(() => this.#say({ type: 'leave' }), HIDDEN_MS)
      else this.#rejoin()
    })
  }
}

// Trusted types ask for a policy even for an address of one's own. lib.dom does not know them.
declare const trustedTypes:
  | undefined
  | {
      createPolicy: (
        name: string,
        rules: { createScriptURL: (url: string) => string }
      ) => { createScriptURL: (url: string) => string }
    }

function startWorker(url: string): SharedWorker {
  const isTrusted = typeof trustedTypes !== 'undefined'
  const address = isTrusted
    ? trustedTypes
        .createPolicy('dialogs-worker', { createScriptURL: () => url })
        .createScriptURL(url)
    : url
  return new SharedWorker(address, { type: 'module', name: 'dialogs' })
}
