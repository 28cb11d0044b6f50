// The nodes that slots are being moved to, and whether one of them has a key. Asked before an empty
// answer is believed: where a slot's owner has died half-way, the replica that took over knows
// nothing of the move, and says of a key that has gone that there is none. The importing node has
// it, and a mark that only its own view shows: so every node is asked, once a second at most for
// all keys. Not found: what an importing node had that has died as well. Its replica has the keys
// without the mark; `npm run cluster -- finish` counts keys.
import { slotOf } from './slots.js'
import { type Node, type Nodes } from './nodes.js'
import { type ClusterNode } from './topology.js'

type Look = { readonly atMs: number; readonly importers: Promise<readonly ClusterNode[]> }

/**
 * Below any sensible cluster-node-timeout: a slot whose move began since cannot have lost its owner
 * already.
 */
const LOOK_MS = 1000

export class Importers {
  readonly #nodes: Nodes
  #look: Look | undefined

  constructor(nodes: Nodes) {
    this.#nodes = nodes
  }

  /** Whether a node that imports the key's slot has the key. While that cannot be told, it may. */
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
      // It does not answer, or imports the slot no more: the next one to ask looks anew.
      this.#look = undefined
      return true
    }
  }

  #hasKey(node: Node, key: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      node.commands.send(
        ['EXISTS', key],
        true,
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
    // From Valkey 8 on, replicas show their master's marks as well, and refuse to be asked for a
    // key.
    return (await this.#nodes.views(Infinity))
      .flat()
      .filter(({ role, importing }) => role === 'master' && importing.length > 0)
  }
}
