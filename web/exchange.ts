// Where the pages of a browser meet the service. Runs in the SharedWorker, or in the page itself
// where there is none. Pages with the same token share one client and its streams. A page with
// another token may belong to another person, and shares nothing with them.
import { Dialogs } from '../src/client/dialogs.js'
import { DialogFeeds } from './dialog-feeds.js'
import { Switchboard } from './switchboard.js'
import { type FromPage, type Reader } from './wire.js'

type Desk = { readonly switchboard: Switchboard; readonly feeds: DialogFeeds }

export class Exchange {
  readonly #base: string
  /** Pages announce here that the network is back, because the browser does not tell a worker. */
  readonly #network = new EventTarget()
  /** By token; an empty token stands for none, or for a cookie. */
  readonly #desks = new Map<string, Desk>()
  readonly #tokens = new Map<Reader, string>()

  /** @param base the address that the service's paths are relative to */
  constructor(base: string) {
    this.#base = base
  }

  receive(reader: Reader, message: FromPage): void {
    const { switchboard, feeds } = this.#deskOf(reader)
    switch (message.type) {
      case 'sign-in':
        this.goodbye(reader)
        this.#tokens.set(reader, message.token)
        return
      case 'join':
        return switchboard.join(reader, message.room, message.cursor)
      case 'leave':
        return switchboard.leave(reader)
      case 'follow':
        return feeds.follow(reader, message.user)
      case 'goodbye':
        return this.goodbye(reader)
      case 'hurry':
        this.#network.dispatchEvent(new Event('online'))
    }
  }

  /** The page reads nothing any more. */
  goodbye(reader: Reader): void {
    const { switchboard, feeds } = this.#deskOf(reader)
    switchboard.leave(reader)
    feeds.leave(reader)
  }

  /** The page is gone. */
  forget(reader: Reader): void {
    this.goodbye(reader)
    this.#tokens.delete(reader)
  }

  #deskOf(reader: Reader): Desk {
    const token = this.#tokens.get(reader) ?? ''
    const known = this.#desks.get(token)
    if (known !== undefined) return known
    const used = new Set(this.#tokens.values())
    for (const each of this.#desks.keys()) if (!used.has(each)) this.#desks.delete(each)
    const dialogs = new Dialogs({ url: this.#base, token, network: this.#network })
    const desk = { switchboard: new Switchboard(dialogs), feeds: new DialogFeeds(dialogs) }
    this.#desks.set(token, desk)
    return desk
  }
}
