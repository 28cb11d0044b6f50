// Whether a node that does not answer this process is alive all the same: then only the link
// between the two is cut, no failover will come, and waiting for one would hold up every request
// until its deadline. Invariant: a node counts as cut off only while the majority of the masters,
// itself included, hears it and this process does not. One that nobody hears has died, or is about
// to be replaced: that is waited for. Watches from the first lost connection until the node answers
// again, or is given up by the cluster; costs nothing before.
import { setTimeout as sleep } from 'node:timers/promises'

/** What another master says: when it last heard the node, and any node at all, by its own clock. */
export type Witness = {
  readonly voter: string
  readonly heardMs: number
  readonly newestMs: number
}

export type ReachOptions = {
  /** Opens a connection to the node, and closes it. @throws when the node does not answer */
  readonly probe: () => Promise<void>
  /**
   * The other masters that answer and neither suspect the node nor call it something else than a
   * master; and how many of them are a majority together with the node. Undefined when the cluster
   * holds the node for failed, or does not know it.
   */
  readonly witnesses: () => Promise<
    { readonly quorum: number; readonly found: readonly Witness[] } | undefined
  >
  readonly onChange: (isCutOff: boolean) => void
}

const LOOK_MS = 250
/**
 * For how long what a master says may still be from before the node fell silent: masters tell each
 * other when they heard a node, and each hears somebody every second.
 */
const SETTLE_MS = 1500

export class Reach {
  readonly #options: ReachOptions
  #isWatching = false
  #isCutOff = false
  #isClosed = false

  constructor(options: ReachOptions) {
    this.#options = options
  }

  /** A connection to the node was lost, or could not be opened. */
  noteLost(): void {
    if (this.#isWatching || this.#isClosed) return
    this.#isWatching = true
    void this.#watch()
  }

  close(): void {
    this.#isClosed = true
  }

  async #watch(): Promise<void> {
    const answered = new AbortController()
    void this.#untilAnswered().then(() => {
      answered.abort()
    })
    const settledAt = performance.now() + SETTLE_MS
    // By voter: a moment of its clock that is later than the loss. A node that is heard after that
    // is alive.
    const aliveAfterMs = new Map<string, number>()
    while (!answered.signal.aborted && !this.#isClosed) {
      const witnesses = await this.#options.witnesses().catch(() => NOBODY)
      if (witnesses === undefined) break
      if (answered.signal.aborted || this.#isClosed) break
      const { quorum, found } = witnesses
      const isSettled = performance.now() >= settledAt
      const hearing = found.filter(({ voter, heardMs, newestMs }) => {
        const after = aliveAfterMs.get(voter)
        if (after === undefined || !isSettled) aliveAfterMs.set(voter, newestMs)
        return isSettled && after !== undefined && heardMs > after
      })
      // The verdict stands until enough of them suspect the node as well.
      this.#set((this.#isCutOff ? found : hearing).length >= quorum)
      await sleep(LOOK_MS, undefined, { ref: false })
    }
    this.#isWatching = false
    this.#set(false)
  }

  // Ends with the watch at the latest: then the node is the topology's matter again.
  async #untilAnswered(): Promise<void> {
    while (this.#isWatching && !this.#isClosed) {
      try {
        return await this.#options.probe()
      } catch {
        await sleep(LOOK_MS, undefined, { ref: false })
      }
    }
  }

  #set(isCutOff: boolean): void {
    if (isCutOff === this.#isCutOff) return
    this.#isCutOff = isCutOff
    this.#options.onChange(isCutOff)
  }
}

const NOBODY = { quorum: 1, found: [] }
