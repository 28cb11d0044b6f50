// Whether a node that a slot is being moved to (it imports the slot) has a key. This is asked
// before the owner's word that a key does not exist is believed. If the owner of a slot dies during
// a move, the replica that takes over knows nothing of the move, and reports keys that have already
// moved as missing. The importing node has them, and a mark of the move that only its own view
// shows. So all nodes are asked for their views, at most once a second for all keys together. If
// the importing node is out of reach as well, its mark counts for a while (views.ts), so that its
// keys are not taken for missing. What this does not find: the keys of an importing node that was
// replaced. Its replica has the keys but not the mark; `npm run cluster -- finish` finds them by
// counting keys.
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
      return await this.#isAtOneOf(look, key)
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
