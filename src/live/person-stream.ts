// One stream of a person, and which of their dialogs it has not been told of yet. Invariant: a
// dialog that has changed is written at least once more, with its state at the time of writing. So
// a slow client gets fewer events, but always the last state of each dialog. Holds only names of
// rooms, each once. The id of an event is a time. Every change before that time has been written,
// so a client that resumes there is told of everything that has changed since. While something
// cannot be read, the time stands still. A long list is written in pieces, because many streams may
// begin, or hear of many dialogs, at once.
import { type LoopSlices } from '../loop-slices.js'
import { type Stream } from './stream.js'

export type PersonOutput = Pick<Stream, 'isFull' | 'hasEnded' | 'write' | 'drained'>

/** A piece ends after this many characters. */
const PIECE_LENGTH = 16_384

export class PersonStream {
  /** Whether it was told of every dialog once. Before that it gets no `event: live`. */
  hasStarted = false
  readonly #stream: PersonOutput
  /** `event: …\ndata: …` of a room as it is now. */
  readonly #eventOf: (room: string) => string | undefined
  /** Since when something has been out of date; undefined if nothing is. */
  readonly #outdatedSinceMs: () => number | undefined
  readonly #slices: Pick<LoopSlices, 'add'>
  /** Rooms whose change is not written yet, and when they changed (ms); oldest first. */
  readonly #untold = new Map<string, number>()
  #isWriting = false
  /** Who waits until a room is told, and with it all before it. */
  #awaited: Array<{ readonly last: string; readonly resolve: () => void }> = []

  constructor(
    stream: PersonOutput,
    eventOf: (room: string) => string | undefined,
    outdatedSinceMs: () => number | undefined,
    slices: Pick<LoopSlices, 'add'>
  ) {
    this.#stream = stream
    this.#eventOf = eventOf
    this.#outdatedSinceMs = outdatedSinceMs
    this.#slices = slices
  }

  /** The dialog has changed. Its state is written in a later turn. */
  tell(room: string): void {
    if (this.#stream.hasEnded || this.#untold.has(room)) return
    this.#untold.set(room, Date.now())
    if (this.#isWriting) return
    this.#isWriting = true
    this.#slices.add(this.#write)
  }

  /** Resolves when all that is untold now has been written, or the stream has ended. */
  async told(): Promise<void> {
    const last = [...this.#untold.keys()].at(-1)
    if (last === undefined || this.#stream.hasEnded) return
    await new Promise<void>(resolve => {
      this.#awaited.push({ last, resolve })
    })
  }

  /** Writes an event now, whatever is still untold. Its id says up to when everything was told. */
  event(event: string): void {
    this.#stream.write(`id: ${this.#cursor}\n${event}\n\n`)
  }

  get #cursor(): number {
    const untoldMs = this.#untold.values().next().value ?? Date.now()
    return Math.min(untoldMs, this.#outdatedSinceMs() ?? Infinity)
  }

  readonly #write = (): void => {
    if (this.#stream.hasEnded) {
      for (const { resolve } of this.#awaited.splice(0)) resolve()
      return
    }
    if (this.#stream.isFull) {
      void this.#stream.drained().then(this.#write)
      return
    }
    let piece = ''
    for (const room of this.#untold.keys()) {
      this.#untold.delete(room)
      const event = this.#eventOf(room)
      if (event !== undefined) piece += `id: ${this.#cursor}\n${event}\n\n`
      if (this.#awaited.length > 0) this.#hasTold(room)
      if (piece.length >= PIECE_LENGTH) break
    }
    if (piece !== '') this.#stream.write(piece)
    this.#isWriting = this.#untold.size > 0
    if (this.#isWriting) this.#slices.add(this.#write)
  }

  #hasTold(room: string): void {
    for (const { last, resolve } of this.#awaited) if (last === room) resolve()
    this.#awaited = this.#awaited.filter(({ last }) => last !== room)
  }
}
