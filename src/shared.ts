// Reads that several callers ask for at once, done once for all of them. Invariant: what a caller
// gets was read after its call. One that comes while a read is under way gets the next one,
// together with all others that come meanwhile: so of each key one read is under way and one waits,
// however many ask.

export class Shared<T> {
  readonly #running = new Map<string, Promise<T>>()
  readonly #next = new Map<string, Promise<T>>()

  read(key: string, read: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key)
    if (running === undefined) return this.#start(key, read)
    const known = this.#next.get(key)
    if (known !== undefined) return known
    const start = (): Promise<T> => {
      this.#next.delete(key)
      return this.#start(key, read)
    }
    const next = running.then(start, start)
    this.#next.set(key, next)
    return next
  }

  #start(key: string, read: () => Promise<T>): Promise<T> {
    const running: Promise<T> = read().finally(() => {
      if (this.#running.get(key) === running) this.#running.delete(key)
    })
    this.#running.set(key, running)
    return running
  }
}
