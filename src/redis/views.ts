// What the nodes say about the cluster and about each other: views of the topology, whether the
// majority calls a node a master, when others have heard it last, and where to reach the addresses
// that they announce. Invariant: a node that does not answer holds nobody up while another one can
// be asked. This opens no connection itself; the option `ask` does.
import { addressKey, addressOf, type Address } from './address.js'
import { ConnectionLost, isRedisError, type Reply } from './connection.js'
import { Endpoints } from './endpoints.js'
import { gather } from './gather.js'
import { type Witness } from './reach.js'
import { type Standing } from './replication.js'
import { parseClusterNodes, Topology, type ClusterNode } from './topology.js'

export type ViewsOptions = {
  readonly seeds: readonly Address[]
  /** Announced `host:port` → where this process reaches that node (containers, port forwarding). */
  readonly addressMap: ReadonlyMap<string, Address>
  /** A node that has not answered a question after this long counts as late. */
  readonly connectTimeoutMs: number
  /** Sends one command to one node, once. */
  readonly ask: (key: string, args: string[]) => Promise<Reply>
  /** The nodes that nodes.ts keeps, by `host:port`. */
  readonly known: Pick<ReadonlyMap<string, unknown>, 'keys' | 'has'>
}

/**
 * A node that imported slots and does not answer now counts as importing them for this long: much
 * longer than a restart or a failover takes.
 */
const IMPORTING_MS_MAX = 30_000

export class Views {
  readonly #options: ViewsOptions
  readonly #endpoints = new Endpoints()
  /** Nodes that did not answer a question in time, and whether they are being asked again. */
  readonly #late = new Map<string, boolean>()
  /** By `host:port`: what each node that imports slots last said of itself, and when. */
  readonly #importers = new Map<string, { readonly node: ClusterNode; readonly atMs: number }>()
  #topology = Topology.empty()

  constructor(options: ViewsOptions) {
    this.#options = options
  }

  /** Takes the newest topology. */
  follow(topology: Topology): void {
    this.#topology = topology
    for (const key of this.#late.keys()) {
      if (!topology.nodes.has(key)) this.#late.delete(key)
    }
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

  /**
   * What some nodes say about the cluster: `count` views, or fewer if fewer nodes answer. Asks in
   * random order, masters first and seeds last, because a node that has left the cluster describes
   * a cluster of its own. Nodes that the cluster considers failed are asked only if no other node
   * knows of any slots. While another node can be asked, this does not wait for a node that is late
   * now or was late the last time.
   * @throws the last error if no node knows of any slots
   */
  async collect(count: number): Promise<ReadonlyArray<readonly ClusterNode[]>> {
    const { masters, nodes } = this.#topology
    const isFailed = (key: string): boolean => nodes.get(key)?.isFailed === true
    const rank = (key: string): number =>
      Math.random() + (masters.includes(key) ? 0 : this.#options.known.has(key) ? 1 : 2)
    const known = [
      ...new Set([...this.#options.known.keys(), ...this.#options.seeds.map(addressKey)])
    ]
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

  /**
   * The nodes that import slots, by what each of them said last. So a mark outlives a node that is
   * out of reach, which may have keys that nobody else has.
   */
  get importers(): ClusterNode[] {
    const oldestMs = performance.now() - IMPORTING_MS_MAX
    for (const [key, { atMs }] of this.#importers) {
      if (atMs < oldestMs) this.#importers.delete(key)
    }
    return [...this.#importers.values()].map(({ node }) => node)
  }

  // A node shows only its own marks. Since Valkey 8 replicas show those of their master as well,
  // but cannot be asked for a key.
  #noteImporter(key: string, view: readonly ClusterNode[]): void {
    this.#importers.delete(key)
    const node = view.find(({ role, importing }) => role === 'master' && importing.length > 0)
    if (node === undefined) return
    this.#importers.set(addressKey(node.address), { node, atMs: performance.now() })
  }

  /**
   * The masters that do not own the slot, also those without any slots; without those that are late
   * or that the cluster considers failed.
   */
  mastersBeside(slot: number): string[] {
    const { nodes } = this.#topology
    const owner = this.#topology.ownerOf(slot)
    return [...nodes]
      .filter(([key, { role, isFailed }]) => role === 'master' && !isFailed && key !== owner)
      .map(([key]) => key)
      .filter(key => !this.#late.has(key))
  }

  /** What a node says of itself. */
  async selfOf(key: string): Promise<ClusterNode | undefined> {
    return nodeIn(await this.#viewOf(key), key)
  }

  /** As `ask`, but gives up after CONNECT_TIMEOUT_MS. */
  async askInTime(key: string, args: string[]): Promise<Reply> {
    try {
      const reply = await withTimeout(this.#options.ask(key, args), this.#options.connectTimeoutMs)
      this.#late.delete(key)
      return reply
    } catch (error) {
      if (error instanceof ConnectionLost && this.#options.known.has(key)) {
        this.#late.set(key, false)
      }
      throw error
    }
  }

  // Nobody waits for the answer. It only shows whether the node is back.
  #askAgain(key: string): void {
    this.#late.set(key, true)
    this.#viewOf(key).catch(() => undefined)
  }

  /** As `witnesses` of ReachOptions. */
  async witnessesOf(
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
      // Together with the node itself, this many are a majority.
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
    const view = parseClusterNodes(reply, askedHost).map(node => ({
      ...node,
      address: this.reachable(node.address)
    }))
    this.#noteImporter(key, view)
    return view
  }

  /**
   * What the majority of the masters says about one of them. Waits only for a majority, because a
   * node whose host has vanished never answers. If this majority still sees a replica, the masters
   * that are not late are heard as well: the replica may have failed for another majority. A master
   * that suspects the node does not vouch for it. Any two majorities share a master, so no other
   * node can have been elected before this majority answered.
   * @throws ConnectionLost when no majority answers
   */
  async standingOf(key: string): Promise<Standing> {
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
      {
        atOnce: masters.length,
        isComplete: true,
        isEnough: vouching => replicasSeen(vouching, quorum).length === 0
      }
    )
    if (found.length < quorum && !isDenied) {
      throw new ConnectionLost('No majority of the masters answers')
    }
    return {
      isMaster: found.length >= quorum,
      replicas: replicasSeen(found, quorum)
    }
  }

  /** Whether a node is loading its data. */
  async isLoading(key: string): Promise<boolean> {
    try {
      await this.askInTime(key, ['PING'])
      return false
    } catch (error) {
      return isRedisError(error) && error.message.startsWith('LOADING')
    }
  }
}

/**
 * The replicas of a master that no majority suspects, by `host:port`. A replica that a majority of
 * the masters suspects has failed by definition. Until these masters have told each other, which
 * takes up to another second, no node says so.
 */
function replicasSeen(
  vouching: ReadonlyArray<{ readonly id: string; readonly view: readonly ClusterNode[] }>,
  quorum: number
): string[] {
  const seenBy = new Map<string, number>()
  for (const { id, view } of vouching) {
    for (const { role, masterId, isFailed, isSuspected, address } of view) {
      if (role !== 'replica' || masterId !== id || isFailed || isSuspected) continue
      const replica = addressKey(address)
      seenBy.set(replica, (seenBy.get(replica) ?? 0) + 1)
    }
  }
  return [...seenBy.keys()].filter(replica => vouching.length - (seenBy.get(replica) ?? 0) < quorum)
}

const nodeIn = (view: readonly ClusterNode[], key: string): ClusterNode | undefined =>
  view.find(({ address }) => addressKey(address) === key)

const isServing = ({ role, isFailed, isSuspected, slots }: ClusterNode): boolean =>
  role === 'master' && !isFailed && !isSuspected && slots.length > 0

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
