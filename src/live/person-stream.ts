// One stream of a person: which of their dialogs it has not been told of yet. Invariant: a dialog
// that has changed is written at least once more, with its state at the time of writing; a client
// that is slow gets fewer events, and the last state of each dialog. Holds nothing but names of
// rooms, each once. The id of an event is a time, and no change that is older is untold: who
// resumes there is told of everything that has changed since.
import { type Stream } from './stream.js'

export type PersonOutput = Pick<Stream, 'isFull' | 'hasEnded' | 'write' | 'drained'>

export class PersonStream {
  readonly #stream: PersonOutput
  /** `event: …\ndata: …` of a room as it is now. */
  readonly #eventOf: (room: string) => string | undefined
  /** Since when each has changed; oldest first. */
  readonly #untold = new Map<string, number>()
  #isWriting = false

  constructor(stream: PersonOutput, eventOf: (room: string) => string | undefined) {
    this.#stream = stream
    this.#eventOf = eventOf
  }

  tell(room: string): void {
    if (this.#stream.hasEnded || this.#untold.has(room)) return
    this.#untold.set(room, Date.now())
    if (!this.#isWriting) this.#write()
  }

  /** Writes an event that is about no single dialog. */
  event(event: string): void {
    this.#stream.write(`id: ${this.#cursor}\n${event}\n\n`)
  }

  get #cursor(): number {
    return this.#untold.values().next().value ?? Date.now()
  }

  #write(): void {
    for (const room of this.#untold.keys()) {
      if (this.#stream.hasEnded) return
      if (this.#stream.isFull) {
        void this.#writeLater()
        return
      }
      this.#untold.delete(room)
      const event = this.#eventOf(room)
      if (event !== undefined) this.event(event)
    }
  }

  async #writeLater(): Promise<void> {
    this.#isWriting = true
    await this.#stream.drained()
    this.#isWriting = false
    this.#write()
  }
}
