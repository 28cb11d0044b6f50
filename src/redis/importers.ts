// The nodes that slots are being moved to, and whether one of them has a key. Asked before an empty
// answer is believed. If the owner of a slot dies while the slot is being moved, the replica that
// takes over knows nothing of the move, so it reports that a key which has already moved does not
// exist. The importing node has the key, and a mark that only its own view shows. So all nodes are
// asked, at most once a second for all keys together. Not found: keys of an importing node that has
// died as well. Its replica has them without the mark; `npm run cluster -- finish` counts keys.
import { slotOf } from './slots.js'
import { type Node, type Nodes } from './nodes.js'
import { type ClusterNode } from './topology.js'

type Look = { readonly atMs: number; readonly importers: Promise<readonly ClusterNode[]> }

/**
 * Less than any sensible cluster-node-timeout: a slot whose move began within this time cannot have
 * lost its owner yet.
 */
const LOOK_MS = 1000

export class Importers {
  readonly #nodes: Nodes
  #look: Look | undefined

  constructor(nodes: Nodes) {
    this.#nodes = nodes
  }

  /**
   * Whether a node that imports the key's slot has the key. True as long as that cannot be found
   * out.
   */
  async mayHave(key: string): Promise<boolean> {
    const slot = slotOf(key)
    try {
      const importers = (await this.#importers()).filter(({ importing }) =>
        importing.some(mark => mark.slot === slot)
      )
      const found = await Promise.all(
        importers.map(({ address }) => this.#hasKey(this.#nodes.add(address), key))
      )
      return found.includes(true)
    } catch {
      // It does not answer, or no longer imports the slot: the next call asks again.
      this.#look = undefined
      return true
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

  #importers(): Promise<readonly ClusterNode[]> {
    const now = performance.now()
    if (this.#look === undefined || now - this.#look.atMs >= LOOK_MS) {
      this.#look = { atMs: now, importers: this.#findImporters() }
    }
    return this.#look.importers
  }

  async #findImporters(): Promise<ClusterNode[]> {
    // Since Valkey 8 replicas show their master's marks as well, but they cannot be asked for a
    // key.
    return (await this.#nodes.views.collect(Infinity))
      .flat()
      .filter(({ role, importing }) => role === 'master' && importing.length > 0)
  }
}
