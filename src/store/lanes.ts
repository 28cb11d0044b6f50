// Groups work by key: whatever arrives for a key while a group is in flight becomes the next group
// of that key. Nothing waits on a timer. Invariant: at most one group per key is in flight, and the
// items of a key are started in the order in which they came. Only the size of a group is bounded
// here; the caller must bound how many items wait.
import { setTimeout as sleep } from 'node:timers/promises'

const SETTLED_POLL_MS = 5

export class Lanes<T> {
  readonly #run: (key: string, group: T[]) => Promise<void>
  readonly #fail: (group: T[], error: unknown) => void
  readonly #groupLengthMax: number
  readonly #waiting = new Map<string, T[]>()
  #fresh: string[] = []

  /**
   * @param run must settle every item of its group itself, unless it rejects
   * @param fail settles the items of a group whose run has rejected
   */
  constructor(
    groupLengthMax: number,
    run: (key: string, group: T[]) => Promise<void>,
    fail: (group: T[], error: unknown) => void
  ) {
    this.#groupLengthMax = groupLengthMax
    this.#run = run
    this.#fail = fail
  }

  add(key: string, item: T): void {
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) {
      waiting.push(item)
      return
    }
    this.#waiting.set(key, [item])
    // A microtask is enough: the items of one reply or one request arrive in the same turn.
    if (this.#fresh.push(key) === 1) {
      queueMicrotask(() => {
        this.#start()
      })
    }
  }

  /**
   * Resolves when nothing is waiting or in flight. This polls: it is needed only for a shutdown,
   * and so it costs the groups nothing.
   */
  async settled(): Promise<void> {
    while (this.#waiting.size > 0) await sleep(SETTLED_POLL_MS)
  }

  #start(): void {
    const fresh = this.#fresh
    this.#fresh = []
    for (const key of fresh) void this.#drain(key)
  }

  async #drain(key: string): Promise<void> {
    const waiting = this.#waiting.get(key) ?? []
    while (waiting.length > 0) {
      const group = waiting.splice(0, this.#groupLengthMax)
      try {
        await this.#run(key, group)
      } catch (error) {
        this.#fail(group, error)
      }
    }
    this.#waiting.delete(key)
  }
}
