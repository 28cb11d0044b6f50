// Many short pieces of work, such as writing one piece of a long list to each of many streams: as
// many in each turn of the event loop as fit into a few ms. Invariant: whoever else needs the loop
// waits for one slice, however many pieces are due. Work of which a single piece takes milliseconds
// belongs in LoopTurns (loop-turns.ts).

const SLICE_MS = 5

export class LoopSlices {
  #due: Array<() => void> = []
  #isScheduled = false

  /** Runs a piece of work in a later turn, after those added before. It must not throw. */
  add(work: () => void): void {
    this.#due.push(work)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#run)
  }

  readonly #run = (): void => {
    const until = performance.now() + SLICE_MS
    // What the pieces add comes in a later turn.
    const due = this.#due
    this.#due = []
    let done = 0
    while (done < due.length) {
      due[done++]?.()
      if (performance.now() >= until) break
    }
    this.#due = [...due.slice(done), ...this.#due]
    this.#isScheduled = this.#due.length > 0
    if (this.#isScheduled) setImmediate(this.#run)
  }
}
