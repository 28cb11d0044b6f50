// One stream of a person, and which of their dialogs it has not been told of yet. Invariant: a
// dialog that has changed is written at least once more, with its state at the time of writing. So
// a slow client gets fewer events, but always the last state of each dialog. Holds only names of
// rooms, each once. The id of an event is a time. Every change before that time has been written,
// so a client that resumes there is told of everything that has changed since. While something
// cannot be read, the time stands still.
import { type Stream } from './stream.js'

export type PersonOutput = Pick<Stream, 'isFull' | 'hasEnded' | 'write' | 'drained'>

export class PersonStream {
  /** Whether it was told of every dialog once. Before that it gets no `event: live`. */
  hasStarted = false
  readonly #stream: PersonOutput
  /** `event: …\ndata: …` of a room as it is now. */
  readonly #eventOf: (room: string) => string | undefined
  /** Since when something has been out of date; undefined if nothing is. */
  readonly #outdatedSinceMs: () => number | undefined
  /** Rooms whose change is not written yet, and when they changed (ms); oldest first. */
  readonly #untold = new Map<string, number>()
  #isWriting = false

  constructor(
    stream: PersonOutput,
    eventOf: (room: string) => string | undefined,
    outdatedSinceMs: () => number | undefined
  ) {
    this.#stream = stream
    this.#eventOf = eventOf
    this.#outdatedSinceMs = outdatedSinceMs
  }

  tell(room: string): void {
    if (this.#stream.hasEnded || this.#untold.has(room)) return
    this.#untold.set(room, Date.now())
    if (!this.#isWriting) this.#write()
  }

  /** Writes an event now, whatever is still untold. Its id says up to when everything was told. */
  event(event: string): void {
    this.#stream.write(`id: ${this.#cursor}\n${event}\n\n`)
  }

  get #cursor(): number {
    const untoldMs = this.#untold.values().next().value ?? Date.now()
    return Math.min(untoldMs, this.#outdatedSinceMs() ?? Infinity)
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
