// The cluster nodes that this process talks to, by `host:port`: their connections, and what they
// say about the cluster. Invariant: a node is kept from when it is first heard of until a topology
// look no longer finds it; then its connections are closed and its pending commands are rejected.
// Does not know which node owns which slot.
import { DialogsError } from '../errors.js'
import { addressKey, addressOf, type Address } from './address.js'
import { Endpoints } from './endpoints.js'
import { gather } from './gather.js'
import {
  Connection,
  ConnectionLost,
  type ConnectionOptions,
  isRedisError,
  type Reply
} from './connection.js'
import { Link } from './link.js'
import { NodePipeline } from './node-pipeline.js'
import { Reach, type Witness } from './reach.js'
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
  /** This process does not reach a node that the cluster's majority hears, or does again. */
  cutOff?: ((node: string, isCutOff: boolean) => void) | undefined
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
  readonly #endpoints = new Endpoints()
  /** Nodes that did not answer a question in time, and whether they are being asked again. */
  readonly #late = new Map<string, boolean>()
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
    const all = [...commanding, ...writing, reads]
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
    const reach = new Reach({
      probe: () => this.#probe(address),
      witnesses: () => this.#witnessesOf(key),
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
    this.#topology = topology
    for (const node of topology.nodes.values()) if (!node.isFailed) this.add(node.address)
    for (const [key, node] of this.#nodes) {
      const known = topology.nodes.get(key)
      if (known?.isFailed === true) node.abandon()
      if (known !== undefined) continue
      this.#nodes.delete(key)
      this.#late.delete(key)
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
   * knows of any slots. One that is late, or was the last time, is
   * not waited for while another node can be asked.
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
    const isLater = (key: string): boolean => isFailed(key) || this.#late.has(key)
    for (const key of order) {
      if (!isFailed(key) && this.#late.get(key) === false) this.#askAgain(key)
    }
    const { found, lastError } = await gather(
      order.filter(key => !isLater(key)),
      count,
      ask,
      { isComplete }
    )
    if (found.some(tellsOfSlots)) return found
    const rest = await gather(order.filter(isLater), count, ask, { isComplete })
    if (rest.found.some(tellsOfSlots)) return rest.found
    this.#endpoints.forget()
    throw rest.lastError ?? lastError ?? new ConnectionLost('No node of the cluster answers')
  }

  /** As `ask`, but gives up after CONNECT_TIMEOUT_MS. */
  async askInTime(key: string, args: string[]): Promise<Reply> {
    try {
      const reply = await withTimeout(this.ask(key, args), this.#options.connectTimeoutMs)
      this.#late.delete(key)
      return reply
    } catch (error) {
      if (error instanceof ConnectionLost && this.#nodes.has(key)) this.#late.set(key, false)
      throw error
    }
  }

  // Nobody waits for it: it only shows whether the node is back.
  #askAgain(key: string): void {
    this.#late.set(key, true)
    this.#viewOf(key).catch(() => undefined)
  }

  // A node that denies the login has answered.
  async #probe(address: Address): Promise<void> {
    try {
      const connection = await Connection.open(address, this.#options)
      connection.close('it was only a probe')
    } catch (error) {
      if (!isRedisError(error)) throw error
    }
  }

  async #witnessesOf(
    key: string
  ): Promise<{ quorum: number; found: readonly Witness[] } | undefined> {
    const { masters, nodes } = this.#topology
    if (!masters.includes(key) || nodes.get(key)?.isFailed === true) return undefined
    const others = masters.filter(voter => voter !== key)
    const { found } = await gather(
      others,
      others.length,
      async voter => ({ voter, view: await this.#viewOf(voter) }),
      { atOnce: others.length }
    )
    return {
      // With the node itself a majority.
      quorum: Math.max(1, Math.floor(masters.length / 2)),
      found: found.flatMap(({ voter, view }) => {
        const node = nodeIn(view, key)
        const newestMs = Math.max(...view.map(({ heardMs }) => heardMs))
        return node !== undefined && isServing(node)
          ? [{ voter, heardMs: node.heardMs, newestMs }]
          : []
      })
    }
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
        const node = nodeIn(view, key)
        if (node !== undefined && isServing(node)) return { id: node.id, view }
        isDenied = true
        throw new ConnectionLost(`${voter} does not call ${key} a master`)
      },
      { atOnce: masters.length, isComplete: true }
    )
    if (found.length < quorum && !isDenied) {
      throw new ConnectionLost('No majority of the masters answers')
    }
    // One that each of a majority suspects is failed by definition; that they tell each other takes
    // them up to another second.
    const replicas = found.flatMap(({ id, view }) =>
      view.filter(
        ({ role, masterId, isFailed, isSuspected }) =>
          role === 'replica' && masterId === id && !isFailed && !isSuspected
      )
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

const nodeIn = (view: readonly ClusterNode[], key: string): ClusterNode | undefined =>
  view.find(({ address }) => addressKey(address) === key)

const isServing = ({ role, isFailed, isSuspected, slots }: ClusterNode): boolean =>
  role === 'master' && !isFailed && !isSuspected && slots.length > 0

const cutOffError = (): DialogsError =>
  new DialogsError(
    'STORE_UNAVAILABLE',
    'This process does not reach a shard that the others reach: try again with the same Idempotency-Key.'
  )

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
