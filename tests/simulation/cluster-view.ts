// What one node knows of the cluster: the nodes, who owns which slot, and which slots it is moving.
// Views differ, as they do in reality, until the nodes have heard of each other (node-bus.ts).
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { type Value } from './resp.js'

export type Peer = {
  readonly id: string
  readonly host: string
  readonly port: number
  role: 'master' | 'replica'
  masterId: string | undefined
  epoch: number
  heardAt: number
  /** fail? */
  isSuspected: boolean
  /** fail */
  isFailed: boolean
  failedAt: number
  /** Masters that suspect it, and when they said so. */
  readonly reports: Map<string, number>
}

export class ClusterView {
  readonly myId: string
  readonly peers = new Map<string, Peer>()
  owners = new Array<string | undefined>(SLOT_COUNT)
  readonly migrating = new Map<number, string>()
  readonly importing = new Map<number, string>()
  /**
   * Slots that their owner has stopped claiming. The next node that claims one gets it, whatever
   * its epoch (owner_not_claiming_slot, https://github.com/redis/redis/pull/12344).
   */
  readonly unclaimed = new Set<number>()
  currentEpoch = 0
  lastVoteEpoch = 0
  /**
   * Changes with every change of an owner or an epoch. Two views that were compared at these
   * versions need not be compared again.
   */
  version = 0
  #ranges: Map<string, string> | undefined
  readonly #counts = new Map<string, number>()

  constructor(myId: string) {
    this.myId = myId
  }

  get me(): Peer {
    return this.peer(this.myId)
  }

  peer(id: string): Peer {
    const peer = this.peers.get(id)
    if (peer === undefined) throw new Error(`${this.myId} does not know ${id}`)
    return peer
  }

  slotCount(id: string): number {
    return this.#counts.get(id) ?? 0
  }

  setOwner(slot: number, id: string | undefined): void {
    const before = this.owners[slot]
    if (before === id) return
    if (before !== undefined) this.#counts.set(before, this.slotCount(before) - 1)
    if (id !== undefined) this.#counts.set(id, this.slotCount(id) + 1)
    this.owners[slot] = id
    this.unclaimed.delete(slot)
    this.#ranges = undefined
    this.version++
  }

  setEpoch(peer: Peer, epoch: number): void {
    if (peer.epoch === epoch) return
    peer.epoch = epoch
    this.version++
  }

  /** Replaces all slots at once. */
  adoptOwners(from: ClusterView): void {
    this.owners = from.owners.slice()
    this.#counts.clear()
    for (const [id, count] of from.#counts) this.#counts.set(id, count)
    this.#ranges = from.#ranges
  }

  /** Whether two views give a node the same slots. */
  agreesWith(other: ClusterView, id: string): boolean {
    return this.#rangesOfAll.get(id) === other.#rangesOfAll.get(id)
  }

  /** Masters with slots: those that vote. */
  get voters(): Peer[] {
    return [...this.peers.values()].filter(
      ({ id, role }) => role === 'master' && this.slotCount(id) > 0
    )
  }

  get quorum(): number {
    return Math.floor(this.voters.length / 2) + 1
  }

  /**
   * The reply to `CLUSTER SHARDS` (https://redis.io/commands/cluster-shards): names and values, one
   * after the other.
   */
  shards(): Value {
    const peers = [...this.peers.values()]
    return peers
      .filter(({ role }) => role === 'master')
      .map(master => {
        const nodes = peers.filter(({ id, masterId }) => id === master.id || masterId === master.id)
        const slots = (this.#rangesOfAll.get(master.id) ?? '')
          .split(' ')
          .filter(range => range !== '')
          .flatMap(range => {
            const [first = 0, last = first] = range.split('-').map(Number)
            return [first, last]
          })
        return [
          'slots',
          slots,
          'nodes',
          nodes.map(({ id, host, port, role, isFailed }) => [
            'id',
            id,
            'port',
            port,
            'ip',
            host,
            'endpoint',
            host,
            'role',
            role,
            'replication-offset',
            0,
            'health',
            isFailed ? 'fail' : 'online'
          ])
        ]
      })
  }

  get #rangesOfAll(): Map<string, string> {
    this.#ranges ??= rangesOf(this.owners)
    return this.#ranges
  }

  /** The reply to `CLUSTER NODES` (https://redis.io/commands/cluster-nodes). */
  describe(): string {
    const allRanges = this.#rangesOfAll
    let text = ''
    for (const peer of this.peers.values()) {
      const flags = [
        ...(peer.id === this.myId ? ['myself'] : []),
        peer.role === 'master' ? 'master' : 'slave',
        ...(peer.isFailed ? ['fail'] : peer.isSuspected ? ['fail?'] : [])
      ]
      const marks =
        peer.id === this.myId
          ? [
              ...[...this.migrating].map(([slot, to]) => `[${slot}->-${to}]`),
              ...[...this.importing].map(([slot, from]) => `[${slot}-<-${from}]`)
            ]
          : []
      const link = peer.isFailed || peer.isSuspected ? 'disconnected' : 'connected'
      const words = [
        peer.id,
        `${peer.host}:${peer.port}@${peer.port + 10000}`,
        flags.join(','),
        peer.masterId ?? '-',
        '0',
        String(peer.id === this.myId ? 0 : Math.round(peer.heardAt)),
        String(peer.epoch),
        link
      ]
      const ranges = allRanges.get(peer.id)
      text += `${[...words, ...(ranges === undefined ? [] : [ranges]), ...marks].join(' ')}\n`
    }
    return text
  }
}

function rangesOf(owners: ReadonlyArray<string | undefined>): Map<string, string> {
  const ranges = new Map<string, string>()
  let first = 0
  for (let slot = 1; slot <= SLOT_COUNT; slot++) {
    const owner = owners[first]
    if (slot < SLOT_COUNT && owners[slot] === owner) continue
    if (owner !== undefined) {
      ranges.set(
        owner,
        `${ranges.has(owner) ? `${ranges.get(owner) ?? ''} ` : ''}${first === slot - 1 ? String(first) : `${first}-${slot - 1}`}`
      )
    }
    first = slot
  }
  return ranges
}
