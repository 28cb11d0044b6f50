// The cluster nodes that this process talks to, by `host:port`: their connections, and what they
// say about the cluster. Invariant: a node is kept from when it is first heard of until a topology
// look no longer finds it; then its connections are closed and its pending commands are rejected.
// Does not know which node owns which slot.
import { addressKey, addressOf, type Address } from './address.js'
import { Endpoints } from './endpoints.js'
import { gather } from './gather.js'
import {
  type Connection,
  ConnectionLost,
  type ConnectionOptions,
  isRedisError,
  type Reply
} from './connection.js'
import { Link } from './link.js'
import { NodePipeline } from './node-pipeline.js'
import { Replication, type Standing } from './replication.js'
import { parseClusterNodes, Topology, type ClusterNode } from './topology.js'

export type NodesOptions = ConnectionOptions & {
  readonly seeds: readonly Address[]
  /** Announced `host:port` → where this process reaches that node (containers, port forwarding). */
  readonly addressMap: ReadonlyMap<string, Address>
  readonly storeDeadlineMs: number
  readonly replicaAcks: number
  readonly commandConnections: number
  readonly writeConnections: number
}

export type NodesEvents = {
  degraded: (node: string, isDegraded: boolean) => void
  /** Redis refused something that no caller had asked for. */
  refused: (error: unknown) => void
  /** Called for each new connection. Throws if the node must not be used. */
  verify?: (node: string, connection: Connection) => Promise<void>
}

export type Node = {
  readonly address: Address
  readonly commands: NodePipeline
  readonly writes: NodePipeline
  /** A separate connection, because a page of history would hold up small commands behind it. */
  readonly reads: Link
  /** Fails everything that waits for this node. */
  readonly abandon: () => void
  readonly close: () => void
}

export class Nodes {
  readonly #options: NodesOptions
  readonly #events: NodesEvents
  readonly #nodes = new Map<string, Node>()
  readonly #endpoints = new Endpoints()
  #topology = Topology.empty()

  constructor(options: NodesOptions, events: NodesEvents) {
    this.#options = options
    this.#events = events
  }

  get(key: string): Node | undefined {
    return this.#nodes.get(key)
  }

  /** Where to reach a node that announces or prefers this address. */
  reachable(announced: Address): Address {
    const { addressMap } = this.#options
    const preferred = this.#endpoints.of(announced)
    return (
      addressMap.get(addressKey(announced)) ?? addressMap.get(addressKey(preferred)) ?? preferred
    )
  }

  /**
   * A redirection named an address that no topology look has shown: the way to reach nodes may have
   * changed.
   */
  forgetEndpoints(): void {
    this.#endpoints.forget()
  }

  /** The node at a reachable address. Opens no connection yet. */
  add(address: Address): Node {
    const key = addressKey(address)
    const known = this.#nodes.get(key)
    if (known !== undefined) return known
    const {
      commandConnections,
      writeConnections,
      replicaAcks: acks,
      storeDeadlineMs
    } = this.#options
    const link = (): Link =>
      new Link(
        address,
        this.#options,
        connection => this.#events.verify?.(key, connection) ?? Promise.resolve()
      )
    const links = (count: number): Link[] => Array.from({ length: count }, link)
    const commanding = links(commandConnections)
    const writing = links(writeConnections)
    const reads = link()
    const replication =
      acks === 0
        ? undefined
        : new Replication({
            acks,
            deadlineMs: storeDeadlineMs,
            standing: () => this.#standingOf(key),
            isLoading: replica => this.#isLoading(replica),
            onDegraded: isDegraded => {
              this.#events.degraded(key, isDegraded)
            },
            onRefused: error => {
              this.#events.refused(error)
            }
          })
    const node: Node = {
      address,
      commands: new NodePipeline(commanding),
      writes: new NodePipeline(writing, replication),
      reads,
      abandon: () => {
        for (const link of [...commanding, ...writing, reads]) link.abandon()
      },
      close: () => {
        for (const link of [...commanding, ...writing, reads]) link.close()
      }
    }
    this.#nodes.set(key, node)
    return node
  }

  /** Adds the nodes of a topology and closes those that it no longer contains. */
  follow(topology: Topology): void {
    this.#topology = topology
    for (const node of topology.nodes.values()) if (!node.isFailed) this.add(node.address)
    for (const [key, node] of this.#nodes) {
      const known = topology.nodes.get(key)
      if (known?.isFailed === true) node.abandon()
      if (known !== undefined) continue
      this.#nodes.delete(key)
      node.close()
    }
  }

  close(): void {
    for (const node of this.#nodes.values()) node.close()
    this.#nodes.clear()
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async ask(key: string, args: string[]): Promise<Reply> {
    const connection = await this.add(addressOf(key)).reads.openUnverified()
    return await connection.send(args)
  }

  /**
   * What some nodes say about the cluster: `count` views, or fewer if fewer nodes answer. Asks in
   * random order, masters first and seeds last, because a node that has left the cluster describes
   * a cluster of its own. Nodes that the cluster considers failed are asked only if no other node
   * knows of any slots. A late answer is not waited for while another node can be asked.
   * @throws the last error if no node knows of any slots
   */
  async views(count: number): Promise<ReadonlyArray<readonly ClusterNode[]>> {
    const { masters, nodes } = this.#topology
    const isFailed = (key: string): boolean => nodes.get(key)?.isFailed === true
    const rank = (key: string): number =>
      Math.random() + (masters.includes(key) ? 0 : this.#nodes.has(key) ? 1 : 2)
    const known = [...new Set([...this.#nodes.keys(), ...this.#options.seeds.map(addressKey)])]
    const order = known
      .map(key => ({ key, rank: rank(key) }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ key }) => key)
    const ask = (key: string): Promise<ClusterNode[]> => this.#viewOf(key)
    const isComplete = count === Infinity
    const { found, lastError } = await gather(
      order.filter(key => !isFailed(key)),
      count,
      ask,
      { isComplete }
    )
    if (found.some(tellsOfSlots)) return found
    const rest = await gather(order.filter(isFailed), count, ask, { isComplete })
    if (rest.found.some(tellsOfSlots)) return rest.found
    this.#endpoints.forget()
    throw rest.lastError ?? lastError ?? new ConnectionLost('No node of the cluster answers')
  }

  /** As `ask`, but gives up after CONNECT_TIMEOUT_MS. */
  async askInTime(key: string, args: string[]): Promise<Reply> {
    return await withTimeout(this.ask(key, args), this.#options.connectTimeoutMs)
  }

  async #viewOf(key: string): Promise<ClusterNode[]> {
    const askedHost = addressOf(key).host
    const reply = String(await this.askInTime(key, ['CLUSTER', 'NODES']))
    await this.#endpoints.learn(reply, askedHost, () => this.askInTime(key, ['CLUSTER', 'SHARDS']))
    return parseClusterNodes(reply, askedHost).map(node => ({
      ...node,
      address: this.reachable(node.address)
    }))
  }

  // Waits only for a majority, because a node whose host has vanished never answers. A master that
  // suspects the node does not vouch for it. Any two majorities share a master, so no other node
  // can have been elected before this majority answered.
  async #standingOf(key: string): Promise<Standing> {
    const { masters } = this.#topology
    const quorum = Math.floor(masters.length / 2) + 1
    let isDenied = false
    const { found } = await gather(
      masters,
      quorum,
      async voter => {
        const view = await this.#viewOf(voter)
        const node = view.find(({ address }) => addressKey(address) === key)
        if (
          node?.role === 'master' &&
          !node.isFailed &&
          !node.isSuspected &&
          node.slots.length > 0
        ) {
          return { id: node.id, view }
        }
        isDenied = true
        throw new ConnectionLost(`${voter} does not call ${key} a master`)
      },
      { atOnce: masters.length, isComplete: true }
    )
    if (found.length < quorum && !isDenied) {
      throw new ConnectionLost('No majority of the masters answers')
    }
    const replicas = found.flatMap(({ id, view }) =>
      view.filter(node => node.role === 'replica' && node.masterId === id && !node.isFailed)
    )
    return {
      isMaster: found.length >= quorum,
      replicas: [...new Set(replicas.map(({ address }) => addressKey(address)))]
    }
  }

  async #isLoading(key: string): Promise<boolean> {
    try {
      await this.askInTime(key, ['PING'])
      return false
    } catch (error) {
      return isRedisError(error) && error.message.startsWith('LOADING')
    }
  }
}

const tellsOfSlots = (view: readonly ClusterNode[]): boolean =>
  view.some(node => node.slots.length > 0)

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new ConnectionLost(`no answer for ${ms} ms`))
    }, ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
