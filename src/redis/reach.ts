// Whether a node that does not answer this process is alive nevertheless. If so, only the link
// between the two is cut: no failover will come, and waiting for one would delay every request
// until its deadline. Invariant: a node counts as cut off only while the majority of the masters,
// itself included, hears it and this process does not. A node that nobody hears has died and will
// be replaced, so requests wait for that. The watch begins when a connection is lost, and ends when
// the node answers again or the cluster considers it failed. Outside a watch it costs nothing.
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What another master says, by its own clock: when it last heard this node, and any node at all.
 */
export type Witness = {
  readonly voter: string
  readonly heardMs: number
  readonly newestMs: number
}

export type ReachOptions = {
  /** Opens a connection to the node and closes it. @throws when the node does not answer */
  readonly probe: () => Promise<void>
  /**
   * `found`: the other masters that answer, do not suspect the node, and consider it a master.
   * `quorum`: how many of them form a majority together with the node. Undefined if the cluster
   * considers the node failed, or does not know it.
   */
  readonly witnesses: () => Promise<
    { readonly quorum: number; readonly found: readonly Witness[] } | undefined
  >
  readonly onChange: (isCutOff: boolean) => void
}

const LOOK_MS = 250
/**
 * For this long, a master's report may still be from before the node fell silent: masters tell each
 * other when they heard a node, and each of them hears from some node every second.
 */
const SETTLE_MS = 1500

export class Reach {
  readonly #options: ReachOptions
  #isWatching = false
  /** Ends the present watch. */
  #answered: AbortController | undefined
  #isCutOff = false
  #isClosed = false

  constructor(options: ReachOptions) {
    this.#options = options
  }

  /** Called when a connection to the node was lost or could not be opened. */
  noteLost(): void {
    if (this.#isWatching || this.#isClosed) return
    this.#isWatching = true
    void this.#watch()
  }

  /**
   * Called when a connection to the node was opened, so this process does reach it. The probe alone
   * may be unlucky: if somebody closes all connections again and again, it may fail each time.
   */
  noteAnswered(): void {
    this.#answered?.abort()
  }

  close(): void {
    this.#isClosed = true
  }

  async #watch(): Promise<void> {
    const answered = new AbortController()
    this.#answered = answered
    const over = new AbortController()
    let isProbing = false
    const settledAt = performance.now() + SETTLE_MS
    // By voter: a moment after the loss, by the voter's clock. If the voter hears the node after
    // that moment, the node is alive.
    const aliveAfterMs = new Map<string, number>()
    while (!answered.signal.aborted && !this.#isClosed) {
      const isSettled = performance.now() >= settledAt
      const witnesses = await this.#options.witnesses().catch(() => NOBODY)
      if (witnesses === undefined || answered.signal.aborted || this.#isClosed) break
      if (!isProbing) {
        isProbing = true
        void this.#probeUntil(over.signal, answered)
      }
      const { quorum, found } = witnesses
      const hearing = found.filter(({ voter, heardMs, newestMs }) => {
        const after = aliveAfterMs.get(voter)
        if (after === undefined && isSettled) aliveAfterMs.set(voter, newestMs)
        return after !== undefined && heardMs > after
      })
      // Once the node counts as cut off, that stands until too few of the masters vouch for it.
      this.#set((this.#isCutOff ? found : hearing).length >= quorum)
      await sleep(LOOK_MS, undefined, { ref: false })
    }
    over.abort()
    this.#set(false)
    // Without this pause every command that fails would begin a watch while a master is replaced.
    await sleep(LOOK_MS, undefined, { ref: false })
    this.#isWatching = false
  }

  // Ends with the watch at the latest. After that the topology decides about the node.
  async #probeUntil(over: AbortSignal, answered: AbortController): Promise<void> {
    while (!over.aborted && !this.#isClosed) {
      try {
        await this.#options.probe()
        answered.abort()
        return
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
