// A page's line to the exchange: to the one in the SharedWorker, which all pages of the browser
// share, or to one of its own if there is no SharedWorker or it does not start. If the worker ends,
// the page starts it again and resumes after its cursor. A page with its own exchange closes its
// streams while it is hidden, because a browser allows few. When it is shown again, it resumes as
// well.
import { Exchange } from './exchange.js'
import { SharedLine } from './shared-line.js'
import { type FromPage, type ToPage } from './wire.js'

/** A page that is hidden for less than this, on the way to another one, keeps its streams. */
const HIDDEN_MS = 1000

type Asked<Type> = Extract<FromPage, { type: Type }>
type Told<Type> = Extract<ToPage, { type: Type }>

/** News of the person's dialogs. */
export type DialogNews = Told<'dialogs' | 'dialogs-behind' | 'dialog' | 'left'>
/** News of the room. */
export type RoomNews = Exclude<ToPage, DialogNews | Told<'roll-call' | 'dropped'>>

export class Line {
  readonly #base: string
  #onRoom: (news: RoomNews) => void = () => {}
  #onDialogs: (news: DialogNews) => void = () => {}
  #say: (message: FromPage) => void = () => {}
  #signedIn: Asked<'sign-in'>
  #joined: Asked<'join'> | undefined
  #followed: Asked<'follow'> | undefined

  /**
   * @param base the address that the service's paths are relative to
   * @param token as for `signIn`
   */
  constructor(base: string, token: string) {
    this.#base = base
    this.#signedIn = { type: 'sign-in', token }
    if (typeof SharedWorker === 'function') this.#share()
    else this.#useOwn()
    this.#say(this.#signedIn)
    addEventListener('online', () => this.#say({ type: 'hurry' }))
    addEventListener('pagehide', () => this.#say({ type: 'goodbye' }))
    // The page has come back from the browser's cache, which keeps pages as they were.
    addEventListener('pageshow', event => {
      if (event.persisted) this.#resume()
    })
  }

  /** Sets who gets the news of the room. Call it before `join`. */
  onRoom(listener: (news: RoomNews) => void): void {
    this.#onRoom = listener
  }

  /** Sets who gets the news of the person's dialogs. Call it before `follow`. */
  onDialogs(listener: (news: DialogNews) => void): void {
    this.#onDialogs = listener
  }

  /** From now on all requests use this token; an empty one means none. */
  signIn(token: string): void {
    this.#signedIn = { type: 'sign-in', token }
    this.#resume()
  }

  /** Reads a room from after the cursor. */
  join(room: string, cursor: string): void {
    this.#joined = { type: 'join', room, cursor }
    this.#say(this.#joined)
  }

  leave(): void {
    this.#joined = undefined
    this.#say({ type: 'leave' })
  }

  /** Follows a person's dialogs; an empty name is nobody. */
  follow(user: string): void {
    this.#followed = { type: 'follow', user }
    this.#say(this.#followed)
  }

  #resume(): void {
    this.#say(this.#signedIn)
    if (this.#joined !== undefined) this.#say(this.#joined)
    if (this.#followed !== undefined) this.#say(this.#followed)
  }

  #take(message: ToPage): void {
    switch (message.type) {
      case 'roll-call':
        return this.#say({ type: 'here' })
      case 'dropped':
        return this.#resume()
      case 'dialogs':
      case 'dialogs-behind':
      case 'dialog':
      case 'left':
        return this.#onDialogs(message)
    }
    // What was on its way when the page left the room is dropped.
    if (this.#joined === undefined) return
    if (message.type === 'reset' || message.type === 'refused') this.#joined = undefined
    else if (message.type === 'entry') this.#joined = { ...this.#joined, cursor: message.cursor }
    this.#onRoom(message)
  }

  #share(): void {
    const line = new SharedLine(import.meta.url, {
      onMessage: message => this.#take(message),
      onUnusable: () => {
        this.#useOwn()
        this.#resume()
      },
      onEnded: () => {
        this.#share()
        this.#resume()
      }
    })
    this.#say = message => line.say(message)
  }

  #useOwn(): void {
    const exchange = new Exchange(this.#base)
    const reader = { send: (message: ToPage) => this.#take(message) }
    this.#say = message => {
      const opens = message.type === 'join' || message.type === 'follow'
      if (!opens || !document.hidden) exchange.receive(reader, message)
    }
    let timer: ReturnType<typeof setTimeout> | undefined
    document.addEventListener('visibilitychange', () => {
      clearTimeout(timer)
      if (document.hidden) timer = setTimeout(() => this.#say({ type: 'goodbye' }), HIDDEN_MS)
      else this.#resume()
    })
  }
}
