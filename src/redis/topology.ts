// Which node owns which slot, according to the `CLUSTER NODES` replies of some nodes. Once made,
// only a MOVED changes it, one slot at a time. If replies disagree about a slot, the owner with the
// higher configuration epoch wins, as among the nodes themselves (Redis Cluster specification,
// "Configuration handling"). This is a value: it opens no connection and keeps no history.
import { createHash } from 'node:crypto'
import { SLOT_COUNT } from './slots.js'
import { type Address, addressKey } from './address.js'

export type ClusterNode = {
  readonly id: string
  readonly address: Address
  readonly role: 'master' | 'replica'
  /** A replica's master. */
  readonly masterId: string | undefined
  /** The cluster considers it dead (`fail`), and does not merely suspect it (`fail?`). */
  readonly isFailed: boolean
  /** The answering node has not heard of it for the node timeout (`fail?`). */
  readonly isSuspected: boolean
  readonly isLinked: boolean
  /** When the answering node last heard it, by its own clock: ms since 1970, 0 for itself. */
  readonly heardMs: number
  readonly epoch: number
  /** Pairs of first and last slot, both inclusive. */
  readonly slots: ReadonlyArray<readonly [first: number, last: number]>
  /** Slots that are moving to or from another node. A node shows only its own. */
  readonly migrating: ReadonlyArray<{ readonly slot: number; readonly to: string }>
  readonly importing: ReadonlyArray<{ readonly slot: number; readonly from: string }>
}

/**
 * Parses the reply of `CLUSTER NODES` (https://redis.io/commands/cluster-nodes), one line per node:
 * `<id> <ip:port@cport[,hostname]> <flags> <master> <ping-sent> <pong-recv> <config-epoch>
 * <link-state> <slot> … <slot>`. Leaves out nodes without an address or still in handshake.
 * `askedHost` stands in for the host of a node that does not know its own.
 */
export function parseClusterNodes(reply: string, askedHost: string): ClusterNode[] {
  const nodes: ClusterNode[] = []
  for (const line of reply.split('\n')) {
    const [id, where, flagWords, master, , heard, epoch, link, ...slotWords] = line
      .trim()
      .split(' ')
    if (id === undefined || where === undefined || flagWords === undefined) continue
    const flags = flagWords.split(',')
    if (flags.includes('handshake') || flags.includes('noaddr')) continue
    const address = parseAddress(where.split('@')[0] ?? '', askedHost)
    if (address === undefined) continue
    nodes.push({
      id,
      address,
      role: flags.includes('master') ? 'master' : 'replica',
      masterId: master === '-' ? undefined : master,
      isFailed: flags.includes('fail'),
      isSuspected: flags.includes('fail?'),
      isLinked: link === 'connected' || flags.includes('myself'),
      heardMs: Number(heard),
      epoch: Number(epoch),
      ...parseSlots(slotWords)
    })
  }
  return nodes
}

/**
 * Parses `10.0.0.1:6379`, `[::1]:6379`, `::1:6379` or `redis-1.example:6379`. An empty host means
 * the host that was asked. Undefined if the text is not an address, also for `?:6379`: a node that
 * should have a name and has none shows `?`.
 */
export function parseAddress(text: string, askedHost: string): Address | undefined {
  const colon = text.lastIndexOf(':')
  const port = Number(text.slice(colon + 1))
  if (colon < 0 || !Number.isInteger(port) || port < 1 || port > 65535) return undefined
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return host === '?' ? undefined : { host: host === '' ? askedHost : host, port }
}

function parseSlots(words: string[]): Pick<ClusterNode, 'slots' | 'migrating' | 'importing'> {
  const slots: Array<[number, number]> = []
  const migrating: Array<{ slot: number; to: string }> = []
  const importing: Array<{ slot: number; from: string }> = []
  for (const word of words) {
    const half = /^\[(\d+)-([<>])-(\w+)\]$/.exec(word)
    if (half?.[2] === '>') migrating.push({ slot: Number(half[1]), to: half[3] ?? '' })
    else if (half?.[2] === '<') importing.push({ slot: Number(half[1]), from: half[3] ?? '' })
    else {
      const [first, last] = word.split('-').map(Number)
      if (first !== undefined && Number.isInteger(first)) slots.push([first, last ?? first])
    }
  }
  return { slots, migrating, importing }
}

/** The owner of each slot. */
type Owners = {
  readonly bySlot: Array<string | undefined>
  /** The claims that it was made of. Undefined if it has been changed since. */
  readonly madeOf?: string
}

type Claim = Pick<ClusterNode, 'epoch' | 'slots'> & { readonly key: string }

export class Topology {
  /** Every node of any view, by `host:port`, as the view with the highest epoch describes it. */
  readonly nodes: ReadonlyMap<string, ClusterNode>
  #owners: Owners
  #masters: readonly string[] | undefined
  #version: string | undefined

  private constructor(nodes: ReadonlyMap<string, ClusterNode>, owners: Owners) {
    this.nodes = nodes
    this.#owners = owners
  }

  static empty(): Topology {
    return new Topology(new Map(), { bySlot: new Array<string | undefined>(SLOT_COUNT) })
  }

  /**
   * @param before the last topology. If the slots have the same owners, the map of them is shared,
   * so that a look that finds nothing new does not fill 16,384 places.
   */
  static fromViews(views: ReadonlyArray<readonly ClusterNode[]>, before?: Topology): Topology {
    const nodes = new Map<string, ClusterNode>()
    const claims: Claim[] = []
    for (const view of views) {
      for (const node of view) {
        const key = addressKey(node.address)
        const known = nodes.get(key)
        if (
          known === undefined ||
          node.epoch > known.epoch ||
          (node.epoch === known.epoch && node.isFailed)
        ) {
          nodes.set(key, node)
        }
        if (node.role === 'master') claims.push({ key, epoch: node.epoch, slots: node.slots })
      }
    }
    // Later claims overwrite earlier ones: the highest epoch comes last. Among equal epochs the
    // first view comes last.
    claims.reverse().sort((a, b) => a.epoch - b.epoch)
    const words = claims.map(({ key, slots }) => `${key} ${slots.join(' ')}`)
    // Most views say the same.
    const made = words.filter((word, index) => word !== words[index - 1]).join('\n')
    if (before !== undefined && before.#owners.madeOf === made) {
      const topology = new Topology(nodes, before.#owners)
      topology.#masters = before.#masters
      topology.#version = before.#version
      return topology
    }
    const bySlot = new Array<string | undefined>(SLOT_COUNT).fill(undefined)
    for (const { key, slots } of claims) {
      for (const [first, last] of slots) bySlot.fill(key, first, last + 1)
    }
    return new Topology(nodes, { bySlot, madeOf: made })
  }

  /** The `host:port` of the master that owns a slot; undefined if there is none. */
  ownerOf(slot: number): string | undefined {
    return this.#owners.bySlot[slot]
  }

  /** Notes a MOVED, which is newer than the last views. */
  move(slot: number, owner: string): void {
    // Other topologies may share the map. A copy that has been changed is not shared.
    const { bySlot, madeOf } = this.#owners
    if (madeOf !== undefined) this.#owners = { bySlot: [...bySlot] }
    this.#owners.bySlot[slot] = owner
    this.#masters = undefined
    this.#version = undefined
  }

  /**
   * A name for who owns which slot, of 12 hexadecimal digits. Two answers with the same version
   * agree about that, whichever process gave them.
   */
  get version(): string {
    this.#version ??= createHash('sha1')
      .update(this.#owners.bySlot.join())
      .digest('hex')
      .slice(0, 12)
    return this.#version
  }

  /** Masters that own slots, ordered by their first slot. */
  get masters(): readonly string[] {
    return (this.#masters ??= mastersOf(this.#owners.bySlot))
  }

  /** How many slots nobody serves: they have no owner, or one that the cluster considers dead. */
  get unservedSlots(): number {
    let count = 0
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      const owner = this.#owners.bySlot[slot]
      if (owner === undefined || this.nodes.get(owner)?.isFailed === true) count++
    }
    return count
  }

  /** The replicas of a master that are alive according to the cluster. */
  livingReplicasOf(master: string): ClusterNode[] {
    const id = this.nodes.get(master)?.id
    return [...this.nodes.values()].filter(
      node => node.role === 'replica' && node.masterId === id && !node.isFailed && node.isLinked
    )
  }
}

// Slots come in long runs of one owner.
function mastersOf(owners: ReadonlyArray<string | undefined>): string[] {
  const masters = new Set<string>()
  let before: string | undefined
  for (const owner of owners) {
    if (owner === before) continue
    before = owner
    if (owner !== undefined) masters.add(owner)
  }
  return [...masters]
}
