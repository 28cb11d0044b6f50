// The nodes of the cluster that this process talks to, by `host:port`: their connections, and what they say of the cluster.
// Invariant: a node is here from when it is first heard of until a look at the topology no longer finds it; then its connections are closed
// and what was on its way is rejected. Does not know which node owns what.
import { addressKey, addressOf, type Address } from './address.js'
import { ConnectionLost, type ConnectionOptions, type Reply } from './connection.js'
import { Link } from './link.js'
import { NodePipeline } from './node-pipeline.js'
import { parseClusterNodes, Topology, type ClusterNode } from './topology.js'

export type NodesOptions = ConnectionOptions & {
  readonly seeds: readonly Address[]
  /** Announced `host:port` → where this process reaches it (containers, port forwards). */
  readonly addressMap: ReadonlyMap<string, Address>
  readonly deadlineMs: number
  readonly replicaAcks: number
  readonly commandConnections: number
  readonly writeConnections: number
}

export type Node = {
  readonly address: Address
  readonly commands: NodePipeline
  readonly writes: NodePipeline
  /** Of its own: a page of history would hold up the small commands behind it. */
  readonly reads: Link
  readonly close: () => void
}

export class Nodes {
  readonly #options: NodesOptions
  readonly #onDegraded: (node: string, isDegraded: boolean) => void
  readonly #nodes = new Map<string, Node>()

  constructor (options: NodesOptions, onDegraded: (node: string, isDegraded: boolean) => void) {
    this.#options = options
    this.#onDegraded = onDegraded
  }

  get (key: string): Node | undefined {
    return this.#nodes.get(key)
  }

  /** Where a node is reached that announces this address. */
  reachable (announced: Address): Address {
    return this.#options.addressMap.get(addressKey(announced)) ?? announced
  }

  /** The node at a reachable address; opens no connection yet. */
  add (address: Address): Node {
    const key = addressKey(address)
    const known = this.#nodes.get(key)
    if (known !== undefined) return known
    const { commandConnections, writeConnections, replicaAcks: acks, deadlineMs } = this.#options
    const links = (count: number): Link[] => Array.from({ length: count }, () => new Link(address, this.#options))
    const commanding = links(commandConnections)
    const writing = links(writeConnections)
    const reads = new Link(address, this.#options)
    const replication = { deadlineMs, confirmAlone: () => this.#isStillMaster(key), onDegraded: (isDegraded: boolean) => { this.#onDegraded(key, isDegraded) } }
    const node: Node = {
      address,
      commands: new NodePipeline(commanding, { ...replication, acks: 0 }),
      writes: new NodePipeline(writing, { ...replication, acks }),
      reads,
      close: () => { for (const link of [...commanding, ...writing, reads]) link.close() }
    }
    this.#nodes.set(key, node)
    return node
  }

  /** Takes in the nodes of a topology, and closes those that it no longer has. */
  follow (topology: Topology): void {
    for (const node of topology.nodes.values()) if (!node.isFailed) this.add(node.address)
    for (const [key, node] of this.#nodes) {
      if (topology.nodes.has(key)) continue
      this.#nodes.delete(key)
      node.close()
    }
  }

  close (): void {
    for (const node of this.#nodes.values()) node.close()
    this.#nodes.clear()
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async ask (key: string, args: string[]): Promise<Reply> {
    const connection = await this.add(addressOf(key)).reads.open()
    return await connection.send(args)
  }

  /**
   * What some nodes say of the cluster. Asks in random order, a few at a time, until enough have answered or all were asked. Masters by the
   * last view come first, seeds last: a node that has left the cluster tells of a world of its own.
   * @throws the last error when nobody tells of any slot
   */
  async views (count: number, masters: readonly string[]): Promise<ClusterNode[][]> {
    const rank = (key: string): number => Math.random() + (masters.includes(key) ? 0 : this.#nodes.has(key) ? 1 : 2)
    const known = new Set([...this.#nodes.keys(), ...this.#options.seeds.map(addressKey)])
    const order = [...known].map(key => ({ key, rank: rank(key) })).sort((a, b) => a.rank - b.rank)
    const views: ClusterNode[][] = []
    let lastError: unknown = new ConnectionLost('No node of the cluster answers')
    while (order.length > 0 && views.length < count) {
      const answers = await Promise.allSettled(order.splice(0, count).map(({ key }) => this.#viewOf(key)))
      for (const answer of answers) {
        if (answer.status === 'fulfilled') views.push(answer.value)
        else lastError = answer.reason
      }
    }
    if (!views.some(view => view.some(node => node.slots.length > 0))) throw lastError
    return views
  }

  async #viewOf (key: string): Promise<ClusterNode[]> {
    const reply = String(await withTimeout(this.ask(key, ['CLUSTER', 'NODES']), this.#options.connectTimeoutMs))
    return parseClusterNodes(reply, addressOf(key).host).map(node => ({ ...node, address: this.reachable(node.address) }))
  }

  // Every node is asked, the replica that may have been promoted among them.
  async #isStillMaster (key: string): Promise<boolean> {
    const views = await this.views(Infinity, [])
    return Topology.fromViews(views.map(view => view.filter(node => node.slots.length > 0))).masters.includes(key)
  }
}

async function withTimeout<T> (promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new ConnectionLost(`no answer for ${ms} ms`)) }, ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
