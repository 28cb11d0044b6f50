// What this process knows about the cluster as a whole: which node owns which slot, and whether the
// cluster can take work. It looks at the topology again on MOVED, on a lost or refused connection,
// when a master fails, and from time to time. (node-redis' own cluster client looks only on MOVED,
// and hangs while a killed master stays dead.) No other module decides which node owns a slot.
import { DialogsError, messageOf } from '../errors.js'
import { addressKey, type Address } from './address.js'
import { type Node, type Nodes } from './nodes.js'
import { SLOT_COUNT } from './slots.js'
import { Topology } from './topology.js'

const REFRESH_PAUSE_MS = 50
/** How many nodes are asked for their view of the cluster in one look. */
const VIEWS = 3
/** The greatest age of a topology look that `outage` relies on. */
const FRESH_MS = 1000

export class ClusterView {
  readonly #nodes: Nodes
  readonly #onLook: (haveMastersChanged: boolean) => void
  readonly #onBlind: (error: unknown) => void
  readonly #listeners = new Set<() => void>()
  #topology = Topology.empty()
  /** Why the last topology look failed, if it did. */
  #blindness: unknown
  #refreshing: Promise<void> | undefined
  #refreshedAt = -Infinity

  /**
   * @param onLook called after each look, before the listeners of `onChange` are told
   * @param onBlind called with the error of a look that failed
   */
  constructor(
    nodes: Nodes,
    onLook: (haveMastersChanged: boolean) => void,
    onBlind: (error: unknown) => void
  ) {
    this.#nodes = nodes
    this.#onLook = onLook
    this.#onBlind = onBlind
  }

  get topology(): Topology {
    return this.#topology
  }

  /** Nodes that the cluster does not consider failed, by `host:port`. */
  get livingNodes(): string[] {
    return [...this.#topology.nodes].filter(([, { isFailed }]) => !isFailed).map(([key]) => key)
  }

  ownerOf(slot: number): Node | undefined {
    const key = this.#topology.ownerOf(slot)
    return key === undefined ? undefined : this.#nodes.get(key)
  }

  /** The node that announces this address. */
  nodeAt(announced: Address): Node {
    return this.#nodes.add(this.#nodes.views.reachable(announced))
  }

  /** Calls back after every topology look and every MOVED. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /**
   * Why the cluster as a whole cannot take work now, according to a topology look at most a second
   * old; undefined if it can.
   */
  async outage(): Promise<DialogsError | undefined> {
    if (performance.now() - this.#refreshedAt > FRESH_MS || this.#blindness !== undefined) {
      await this.refresh().catch(() => undefined)
    }
    if (this.#blindness !== undefined) {
      return new DialogsError(
        'STORE_UNAVAILABLE',
        `No node of the cluster answers: ${messageOf(this.#blindness)}`,
        { cause: this.#blindness }
      )
    }
    const { unservedSlots } = this.#topology
    if (unservedSlots === 0) return undefined
    return new DialogsError(
      'STORE_UNAVAILABLE',
      `${unservedSlots} of ${SLOT_COUNT} slots of the cluster are not served: they have no owner, or a failed one.`
    )
  }

  /** Looks at the topology again. Calls made during a look share it. */
  async refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  /**
   * Looks again unless the last look is very recent.
   * @param isInBackground does not wait for the look: after a MOVED the new owner is already known
   */
  async refreshSoon(isInBackground: boolean): Promise<void> {
    if (performance.now() - this.#refreshedAt < REFRESH_PAUSE_MS) return
    const refreshed = this.refresh().catch(() => undefined)
    if (!isInBackground) await refreshed
  }

  /** A MOVED says that the node at this announced address owns the slot. */
  move(slot: number, announced: Address): void {
    const to = this.#nodes.views.reachable(announced)
    const key = addressKey(to)
    if (this.#topology.ownerOf(slot) === key) return
    if (!this.#topology.nodes.has(key)) this.#nodes.views.forgetEndpoints()
    this.#nodes.add(to)
    this.#topology.move(slot, key)
    for (const listener of this.#listeners) listener()
  }

  async #look(): Promise<void> {
    // A MOVED that arrives during the look is not lost, although the look replaces the topology:
    // the view with the highest epoch includes it.
    const before = this.#topology.masters.join()
    try {
      const views = await this.#nodes.views.collect(VIEWS)
      const topology = Topology.fromViews(views, this.#topology)
      this.#nodes.follow(topology)
      this.#topology = topology
      this.#blindness = undefined
    } catch (error) {
      this.#blindness = error
      this.#onBlind(error)
      throw error
    } finally {
      this.#refreshedAt = performance.now()
    }
    this.#onLook(this.#topology.masters.join() !== before)
    for (const listener of this.#listeners) listener()
  }
}
