// The cluster nodes that this process talks to, by `host:port`, with their connections. Invariant:
// a node is kept from the moment it is first heard of until a topology look no longer finds it.
// Then its connections are closed and its pending commands are rejected. What the nodes say is in
// views.ts, and which node owns which slot in cluster-view.ts.
import { DialogsError } from '../errors.js'
import { addressKey, addressOf, type Address } from './address.js'
import { Connection, type ConnectionOptions, isRedisError, type Reply } from './connection.js'
import { Link } from './link.js'
import { NodePipeline } from './node-pipeline.js'
import { Reach } from './reach.js'
import { Replication } from './replication.js'
import { type Topology } from './topology.js'
import { Views } from './views.js'

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
  /** The link to a node that the cluster's majority hears is cut, or works again. */
  cutOff?: ((node: string, isCutOff: boolean) => void) | undefined
  /** Redis refused a command that no caller has sent, such as the WAIT after a group of writes. */
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
  /** A connection to it was lost, or could not be opened. */
  readonly lost: () => void
  /** Fails everything that waits for this node. */
  readonly abandon: () => void
  readonly close: () => void
}

export class Nodes {
  readonly #options: NodesOptions
  readonly #events: NodesEvents
  readonly #nodes = new Map<string, Node>()
  /** What the nodes say about the cluster. */
  readonly views: Views

  constructor(options: NodesOptions, events: NodesEvents) {
    this.#options = options
    this.#events = events
    this.views = new Views({
      ...options,
      known: this.#nodes,
      ask: (key, args) => this.ask(key, args)
    })
  }

  get(key: string): Node | undefined {
    return this.#nodes.get(key)
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
      new Link(address, this.#options, async connection => {
        reach.noteAnswered()
        await this.#events.verify?.(key, connection)
      })
    const links = (count: number): Link[] => Array.from({ length: count }, link)
    const commanding = links(commandConnections)
    const writing = links(writeConnections)
    const reads = link()
    const all = [...commanding, ...writing, reads]
    const replication =
      acks === 0
        ? undefined
        : new Replication({
            acks,
            deadlineMs: storeDeadlineMs,
            standing: () => this.views.standingOf(key),
            isLoading: replica => this.views.isLoading(replica),
            onDegraded: isDegraded => {
              this.#events.degraded(key, isDegraded)
            },
            onRefused: error => {
              this.#events.refused(error)
            }
          })
    const reach = new Reach({
      probe: () => this.#probe(address),
      witnesses: () => this.views.witnessesOf(key),
      onChange: isCutOff => {
        const error = isCutOff ? cutOffError() : undefined
        for (const link of all) link.block(error)
        this.#events.cutOff?.(key, isCutOff)
      }
    })
    const node: Node = {
      address,
      commands: new NodePipeline(commanding),
      writes: new NodePipeline(writing, replication),
      reads,
      lost: () => {
        reach.noteLost()
      },
      abandon: () => {
        for (const link of all) link.abandon()
      },
      close: () => {
        reach.close()
        for (const link of all) link.close()
      }
    }
    this.#nodes.set(key, node)
    return node
  }

  /** Adds the nodes of a topology and closes those that it no longer contains. */
  follow(topology: Topology): void {
    this.views.follow(topology)
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

  // A node that denies the login is reachable too.
  async #probe(address: Address): Promise<void> {
    try {
      const connection = await Connection.open(address, this.#options)
      connection.close('it was only a probe')
    } catch (error) {
      if (!isRedisError(error)) throw error
    }
  }
}

const cutOffError = (): DialogsError =>
  new DialogsError(
    'STORE_UNAVAILABLE',
    'This process does not reach a shard that the others reach: try again with the same Idempotency-Key.'
  )
