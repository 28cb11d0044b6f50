// What a person's streams may be out of date about: rooms, or the list of them. Invariant: `first`
// is called when something falls behind and nothing was, `none` when nothing is any more. So a
// silent shard with a thousand of somebody's rooms is told once.

export class Outdated {
  readonly #first: () => void
  readonly #none: () => void
  /** What is behind, and what says that it no longer is. */
  readonly #waiting = new Map<string, Promise<void>>()
  #sinceMs: number | undefined

  constructor(first: () => void, none: () => void) {
    this.#first = first
    this.#none = none
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Since when something has been behind (ms since the epoch); undefined if nothing is. */
  get sinceMs(): number | undefined {
    return this.#sinceMs
  }

  has(what: string): boolean {
    return this.#waiting.has(what)
  }

  /** @param caughtUp resolves when it is right again */
  add(what: string, caughtUp: Promise<void>): void {
    const { isEmpty } = this
    this.#waiting.set(what, caughtUp)
    if (isEmpty) {
      this.#sinceMs = Date.now()
      this.#first()
    }
    void caughtUp.then(() => {
      // It may have fallen behind again meanwhile.
      if (this.#waiting.get(what) === caughtUp) this.delete(what)
    })
  }

  delete(what: string): void {
    if (!this.#waiting.delete(what) || !this.isEmpty) return
    this.#sinceMs = undefined
    this.#none()
  }
}
