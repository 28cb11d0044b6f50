// The cluster as all its nodes describe it at one moment: which nodes there are, who owns which
// slot, which slots are half-moved, and what is wrong. A value, made from every node's `CLUSTER
// NODES`. It differs from the service's Topology because an operator needs more than the owner of a
// slot: here, nodes that do not answer or that disagree are the point.
import { type Address, addressKey } from '../../redis/address.js'
import { SLOT_COUNT } from '../../redis/slots.js'
import { type ClusterNode } from '../../redis/topology.js'
import { type Holding } from './plan.js'
import { Refusal } from './refusal.js'
import { slotsText } from './slots.js'

/** What one node says. */
export type View = {
  readonly selfId: string
  /** `cluster_state:ok`: it accepts commands. */
  readonly isServing: boolean
  readonly nodes: readonly ClusterNode[]
}

export type MapNode = {
  readonly id: string
  /** As it announces itself to other nodes. */
  readonly address: Address
  /** As this process reaches it. */
  readonly reachable: Address
  readonly role: 'master' | 'replica'
  readonly masterId: string | undefined
  /** `failed`: the cluster considers it dead. `silent`: it does not answer this process. */
  readonly state: 'up' | 'failed' | 'silent'
  /** Marks of half-moved slots, as it says itself: slot → the other node's id. */
  readonly migrating: ReadonlyMap<number, string>
  readonly importing: ReadonlyMap<number, string>
  /** Every node that answers knows it. */
  readonly isKnown: boolean
  /**
   * It accepts commands. It does not for 2 s after its start, nor while it cannot reach most
   * masters.
   */
  readonly isServing: boolean
}

/** Slots of which a node names another owner than the map, with the owner that it names, if any. */
export type Mistakes = ReadonlyMap<number, string | undefined>

export class ClusterMap {
  readonly nodes: ReadonlyMap<string, MapNode>
  readonly #owners: ReadonlyArray<string | undefined>
  /** By node, the slots of which it names another owner than this map, and whom it names. */
  readonly #mistakes: ReadonlyMap<string, Mistakes>

  private constructor(
    nodes: ReadonlyMap<string, MapNode>,
    owners: ReadonlyArray<string | undefined>,
    mistakes: ReadonlyMap<string, Mistakes>
  ) {
    this.nodes = nodes
    this.#owners = owners
    this.#mistakes = mistakes
  }

  static fromViews(views: readonly View[], reachable: (announced: Address) => Address): ClusterMap {
    const ids = new Set(views.flatMap(({ nodes }) => nodes.map(({ id }) => id)))
    const nodes = new Map(
      [...ids].flatMap(id => {
        const node = describe(id, views, reachable)
        return node === undefined ? [] : [[id, node] as const]
      })
    )
    const owners = ownersBy(views)
    const mistakes = views.map(view => [view.selfId, difference(ownersBy([view]), owners)] as const)
    return new ClusterMap(nodes, owners, new Map(mistakes))
  }

  /** The same map with some slots at other owners. */
  withOwners(changes: ReadonlyMap<number, string>): ClusterMap {
    return new ClusterMap(
      this.nodes,
      this.#owners.map((owner, slot) => changes.get(slot) ?? owner),
      this.#mistakes
    )
  }

  /**
   * Slots about whose owner the nodes disagree: for a moment after each change, and for longer if
   * something is wrong.
   */
  get disputed(): number[] {
    const slots = [...this.#mistakes.values()].flatMap(mistakes => [...mistakes.keys()])
    return [...new Set(slots)].sort((a, b) => a - b)
  }

  mistakesOf(id: string): Mistakes {
    return this.#mistakes.get(id) ?? new Map<number, string | undefined>()
  }

  ownerOf(slot: number): string | undefined {
    return this.#owners[slot]
  }

  slotsOf(id: string): number[] {
    return this.#owners.flatMap((owner, slot) => (owner === id ? [slot] : []))
  }

  /**
   * Masters, ordered by their first slot, those without slots last. A dead one without slots no
   * longer counts.
   */
  get masters(): MapNode[] {
    const first = new Map([...this.nodes.keys()].map(id => [id, this.#owners.indexOf(id)]))
    const rank = ({ id }: MapNode): number =>
      first.get(id) === -1 ? SLOT_COUNT : (first.get(id) ?? SLOT_COUNT)
    return [...this.nodes.values()]
      .filter(
        node => node.role === 'master' && (node.state !== 'failed' || rank(node) < SLOT_COUNT)
      )
      .sort((a, b) => rank(a) - rank(b) || (addressKey(a.address) < addressKey(b.address) ? -1 : 1))
  }

  get holdings(): Holding[] {
    return this.masters.map(({ id }) => ({ id, slots: this.slotsOf(id) }))
  }

  replicasOf(id: string): MapNode[] {
    return [...this.nodes.values()].filter(node => node.role === 'replica' && node.masterId === id)
  }

  /** The master of a node's shard now: the node itself, or the one that took over. */
  masterOf(id: string): MapNode | undefined {
    const node = this.nodes.get(id)
    return node?.role === 'replica' && node.masterId !== undefined
      ? this.nodes.get(node.masterId)
      : node
  }

  /**
   * Finds a node by its id, the beginning of its id (at least six characters, so that a port is
   * never mistaken for one), its host:port or its port.
   * @throws Refusal when no node, or more than one, matches
   */
  named(name: string): MapNode {
    const nodes = [...this.nodes.values()]
    const byAddress = nodes.filter(({ address, reachable }) =>
      [address, reachable].some(each => addressKey(each) === name || String(each.port) === name)
    )
    const found =
      byAddress.length > 0
        ? byAddress
        : nodes.filter(
            ({ id }) => name.length >= ID_LENGTH_MIN && id.startsWith(name.toLowerCase())
          )
    const [node] = found
    if (node === undefined) {
      throw new Refusal(
        `No node is called '${name}'. There are: ${nodes.map(nodeText).sort().join(', ')}.`
      )
    }
    if (found.length > 1) {
      throw new Refusal(
        `'${name}' may be ${found.map(nodeText).join(' or ')}: give more of the id, or host:port.`
      )
    }
    return node
  }

  /** As `named`, but it must be a living master. @throws Refusal */
  masterNamed(name: string): MapNode {
    const node = this.named(name)
    const master = this.masterOf(node.id)
    if (node.role === 'replica') {
      throw new Refusal(
        `${nodeText(node)} is a replica${master === undefined ? '' : ` of ${nodeText(master)}: name the master`}.`
      )
    }
    if (node.state !== 'up') throw new Refusal(`${nodeText(node)} ${STATES[node.state]}.`)
    return node
  }

  /** What makes it unsafe to move slots now, one sentence each; empty if the cluster is healthy. */
  get faults(): string[] {
    const uncovered = this.#owners.flatMap((owner, slot) => (owner === undefined ? [slot] : []))
    const dead = this.masters.filter(({ id, state }) => state !== 'up' && this.#owners.includes(id))
    const deserted = [...this.nodes.values()]
      .filter(({ state, role }) => state === 'silent' && role === 'master')
      .filter(node => !dead.includes(node))
    return [
      ...(uncovered.length > 0 ? [`Slots ${slotsText(uncovered, 5)} have no owner.`] : []),
      ...dead.map(
        node =>
          `Master ${nodeText(node)}, which owns slots ${slotsText(this.slotsOf(node.id), 5)}, ${STATES[node.state]}.`
      ),
      ...deserted.map(node => `Master ${nodeText(node)} ${STATES.silent}.`),
      ...this.masters
        .filter(({ state, isServing }) => state === 'up' && !isServing)
        .map(node => `Master ${nodeText(node)} says that the cluster is down.`),
      ...(this.disputed.length > 0
        ? [`The nodes do not agree who owns slots ${slotsText(this.disputed, 5)}.`]
        : [])
    ]
  }

  /**
   * What is not as it should be but allows changes: replicas that are down, shards without a
   * replica.
   */
  get warnings(): string[] {
    const away = [...this.nodes.values()].filter(
      ({ role, state, id }) =>
        state !== 'up' && (role === 'replica' || !this.masters.some(master => master.id === id))
    )
    const alone = this.masters.filter(
      ({ id }) =>
        this.#owners.includes(id) && !this.replicasOf(id).some(({ state }) => state === 'up')
    )
    return [
      ...away.map(
        node =>
          `${node.role === 'replica' ? 'Replica' : 'Former master'} ${nodeText(node)} ${STATES[node.state]}.`
      ),
      ...alone.map(node => `Master ${nodeText(node)} has no living replica.`)
    ]
  }
}

const ID_LENGTH_MIN = 6
const STATES = { up: 'is up', failed: 'has failed', silent: 'does not answer' } as const

/** `127.0.0.1:7001 (3f2a1b0c)` */
export const nodeText = ({ id, reachable }: Pick<MapNode, 'id' | 'reachable'>): string =>
  `${addressKey(reachable)} (${id.slice(0, 8)})`

// A node knows best what it is; the others know best where it is and whether it is alive.
function describe(
  id: string,
  views: readonly View[],
  reachable: (announced: Address) => Address
): MapNode | undefined {
  const of = (view: View): ClusterNode[] => view.nodes.filter(node => node.id === id)
  const [own] = views.filter(({ selfId }) => selfId === id).flatMap(of)
  const others = views
    .filter(({ selfId }) => selfId !== id)
    .flatMap(of)
    .sort((a, b) => b.epoch - a.epoch)
  const node = own ?? others[0]
  if (node === undefined) return undefined
  const address = others[0]?.address ?? node.address
  return {
    id,
    address,
    reachable: reachable(address),
    role: node.role,
    masterId: node.masterId,
    state: others.some(({ isFailed }) => isFailed) ? 'failed' : own === undefined ? 'silent' : 'up',
    migrating: new Map(own?.migrating.map(({ slot, to }) => [slot, to])),
    importing: new Map(own?.importing.map(({ slot, from }) => [slot, from])),
    isKnown: views.every(view => of(view).length > 0),
    isServing: views.some(({ selfId, isServing }) => selfId === id && isServing)
  }
}

function difference(
  opinion: ReadonlyArray<string | undefined>,
  owners: ReadonlyArray<string | undefined>
): Mistakes {
  const mistakes = new Map<number, string | undefined>()
  for (const [slot, owner] of owners.entries()) {
    if (opinion[slot] !== owner) mistakes.set(slot, opinion[slot])
  }
  return mistakes
}

// Of contradicting claims, the one with the highest configuration epoch wins, as among the nodes.
function ownersBy(views: readonly View[]): Array<string | undefined> {
  const owners = new Array<string | undefined>(SLOT_COUNT).fill(undefined)
  const epochs = new Float64Array(SLOT_COUNT).fill(-1)
  for (const { id, role, epoch, slots } of views.flatMap(({ nodes }) => nodes)) {
    if (role !== 'master') continue
    for (const [first, last] of slots) {
      for (let slot = first; slot <= last; slot++) {
        if (epoch <= (epochs[slot] ?? -1)) continue
        owners[slot] = id
        epochs[slot] = epoch
      }
    }
  }
  return owners
}
