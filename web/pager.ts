// Loads parts of the history into the transcript: another page at either end, or the surroundings
// of a message or a day. At the ends one page is loaded at a time, whoever asks.
import { seqAt } from './date-search.js'
import { type MessageList } from './message-list.js'
import { type ScrollPlace } from './reader-place.js'
import { FIRST_PAGE_SIZE, type Room, reasonOf } from './room.js'
import { type Transcript } from './transcript.js'

export class Pager {
  readonly #room: Room
  readonly #transcript: Transcript
  readonly #list: MessageList
  readonly #onFault: (reason: string) => void
  #end = new AbortController()
  #isPaging = false

  constructor(
    room: Room,
    transcript: Transcript,
    list: MessageList,
    onFault: (reason: string) => void
  ) {
    this.#room = room
    this.#transcript = transcript
    this.#list = list
    this.#onFault = onFault
  }

  /** Pages that are still loading are dropped. */
  reset(): void {
    this.#end.abort()
    this.#end = new AbortController()
  }

  async readMore(edge: 'earlier' | 'later'): Promise<void> {
    if (this.#isPaging) return
    this.#isPaging = true
    await this.#try(async signal => {
      const { shown } = this.#transcript
      if (edge === 'earlier') {
        const page = await this.#room.readPage({ before: shown[0]?.seq ?? 1 }, signal)
        this.#transcript.addEarlier(page)
      } else {
        const page = await this.#room.readPage({ after: shown.at(-1)?.seq ?? 0 }, signal)
        this.#transcript.addLater(page)
      }
      this.#list.changed()
    })
    this.#isPaging = false
  }

  /** Shows a message, wherever it is in the history, and highlights it. */
  async goTo(seq: number): Promise<void> {
    await this.#try(signal => this.#show(seq, signal))
  }

  /** The same for the message of a link, which may be one that never was, or has expired. */
  async goToLinked(seq: number): Promise<void> {
    await this.#try(async signal => {
      await this.#show(seq, signal)
      if (!this.#isShown(seq)) this.#onFault(`There is no message #${seq} in this room.`)
    })
  }

  /** Shows a place where the reader was before. */
  async goBack(place: ScrollPlace): Promise<void> {
    await this.#try(async signal => {
      await this.#bring(place.seq, signal)
      this.#list.showPlace(place)
    })
  }

  /** Shows the first message that was written at or after this time. */
  async goToTime(ms: number): Promise<void> {
    await this.#try(async signal => {
      const head = this.#transcript.newest?.seq ?? 0
      const seq = await seqAt(this.#room, ms, head, signal)
      if (seq > head) return this.#list.showNewest()
      await this.#show(seq, signal)
    })
  }

  async #show(seq: number, signal: AbortSignal): Promise<void> {
    await this.#bring(seq, signal)
    this.#list.showSeq(seq)
  }

  #isShown(seq: number): boolean {
    return this.#transcript.shown.some(each => each.seq === seq)
  }

  async #bring(seq: number, signal: AbortSignal): Promise<void> {
    if (this.#isShown(seq)) return
    const before = seq + FIRST_PAGE_SIZE / 2
    const page = await this.#room.readPage({ before, limit: FIRST_PAGE_SIZE }, signal)
    this.#transcript.show(page)
  }

  async #try(act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#end
    try {
      await act(signal)
    } catch (error) {
      if (!signal.aborted) this.#onFault(reasonOf(error))
    }
  }
}
