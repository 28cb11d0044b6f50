// Shares reads between callers. Invariant: what a caller gets was read after its call. A call made
// during a read waits for the next read, together with all other calls made meanwhile. So for each
// key at most one read is in flight and one is waiting, however many callers there are.

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
