// Whether a node that a slot is being moved to (it imports the slot) has a key. This is asked
// before the owner's word that a key does not exist is believed. If the owner of a slot dies during
// a move, the replica that takes over knows nothing of the move, and reports keys that have already
// moved as missing. The importing node has them, and a mark of the move that only its own view
// shows. So all nodes are asked for their views, at most once a second for all keys together. If
// the importing node is out of reach as well, its mark counts for a while (views.ts), so that its
// keys are not taken for missing. If the importing node is replaced too, its replica has the keys
// but, before Valkey 8, not the mark. So the other masters are also asked how many keys of the slot
// they have (one small command each), as `npm run cluster -- finish` does.
import { addressKey } from './address.js'
import { slotOf } from './slots.js'
import { type Node, type Nodes } from './nodes.js'
import { isForGood, refusalOf } from './redirect.js'
import { type ClusterNode } from './topology.js'

type Look = { readonly atMs: number; readonly importers: Promise<readonly ClusterNode[]> }

/**
 * Less than any sensible cluster-node-timeout: if a move began after the last look, its owner
 * cannot have been replaced yet.
 */
const LOOK_MS = 1000

export class Importers {
  readonly #nodes: Nodes
  #look: Look | undefined
  /** Questions for unmarked keys that are under way, by slot. */
  readonly #counts = new Map<number, Promise<boolean | undefined>>()

  constructor(nodes: Nodes) {
    this.#nodes = nodes
  }

  /**
   * Whether a node that imports the key's slot has the key. Also true if that cannot be found out
   * now.
   * @throws DialogsError if Redis permanently refuses to say it
   */
  async mayHave(key: string): Promise<boolean> {
    // If a node does not answer, or does not import the slot any more, only a new look can tell.
    return (await this.#isFound(key)) ?? (await this.#isFound(key)) ?? true
  }

  /** @returns undefined if a node gave no answer; then the next call looks again */
  async #isFound(key: string): Promise<boolean | undefined> {
    const look = this.#recentLook()
    try {
      if (await this.#isAtOneOf(look, key)) return true
      const hasUnmarked = await this.#hasUnmarked(look, slotOf(key))
      if (hasUnmarked === undefined && this.#look === look) this.#look = undefined
      return hasUnmarked
    } catch (error) {
      if (this.#look === look) this.#look = undefined
      const refusal = refusalOf(error)
      if (isForGood(refusal)) throw refusal
      return undefined
    }
  }

  async #isAtOneOf({ importers }: Look, key: string): Promise<boolean> {
    const slot = slotOf(key)
    const found = await Promise.all(
      (await importers)
        .filter(({ importing }) => importing.some(mark => mark.slot === slot))
        .map(({ address }) => this.#hasKey(this.#nodes.add(address), key))
    )
    return found.includes(true)
  }

  #hasUnmarked(look: Look, slot: number): Promise<boolean | undefined> {
    const underWay = this.#counts.get(slot)
    if (underWay !== undefined) return underWay
    const count = this.#countUnmarked(look, slot).finally(() => this.#counts.delete(slot))
    this.#counts.set(slot, count)
    return count
  }

  /**
   * Whether a master has keys of a slot that it neither owns nor imports. Which ones is not asked:
   * the move has to be finished anyway.
   * @returns undefined if a node imports the slot that did not at the last look
   */
  async #countUnmarked({ importers }: Look, slot: number): Promise<boolean | undefined> {
    const { views } = this.#nodes
    const marked = (await importers)
      .filter(({ importing }) => importing.some(mark => mark.slot === slot))
      .map(({ address }) => addressKey(address))
    const found = await Promise.all(
      views
        .mastersBeside(slot)
        .filter(key => !marked.includes(key))
        .map(key => this.#isUnmarkedAt(key, slot))
    )
    return found.includes(true) ? true : found.includes(undefined) ? undefined : false
  }

  // A node that does not answer, or may not, is passed over: otherwise a dead master would keep
  // every new room of the other shards from beginning.
  async #isUnmarkedAt(key: string, slot: number): Promise<boolean | undefined> {
    const { views } = this.#nodes
    try {
      const count = await views.askInTime(key, ['CLUSTER', 'COUNTKEYSINSLOT', String(slot)])
      if (count === 0) return false
      const self = await views.selfOf(key)
      if (self?.importing.some(mark => mark.slot === slot) === true) return undefined
      // It may own the slot by now.
      return (
        self?.role === 'master' &&
        !self.slots.some(([first, last]) => first <= slot && slot <= last)
      )
    } catch {
      return false
    }
  }

  #hasKey(node: Node, key: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      node.commands.send(
        ['EXISTS', key],
        true,
        false,
        ({ reply }) => {
          resolve(reply === 1)
        },
        reject
      )
    })
  }

  #recentLook(): Look {
    const now = performance.now()
    if (this.#look === undefined || now - this.#look.atMs >= LOOK_MS) {
      this.#look = { atMs: now, importers: this.#findImporters() }
    }
    return this.#look
  }

  async #findImporters(): Promise<readonly ClusterNode[]> {
    const { views } = this.#nodes
    await views.collect(Infinity)
    return views.importers
  }
}
