// What the nodes tell each other: who is alive, who owns which slot, who takes over. This is Redis
// Cluster's gossip, failure reports and elections (Redis Cluster specification, "Fault Tolerance"
// and "Configuration handling"); each node acts on its own view and at its own pace. Simplified: a
// message arrives in the tick in which it is sent, or not at all.
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { type Peer } from './cluster-view.js'
import { type SimulatedNode } from './node.js'
import { ReplicationLink } from './replication-link.js'
import { type World } from './world.js'

const TICK_MS = 100
/**
 * How long a replica waits before it asks for votes, so that the others learn of the failure first.
 */
const ELECTION_MS = 500
const RANK_MS = 1000
/** repl-ping-replica-period */
const REPLICATION_PING_MS = 10_000

export class NodeBus {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  start(node: SimulatedNode): void {
    // All views are still the same.
    for (const other of this.#nodes) node.compared.set(other.id, versions(node, other))
    const tick = (): void => {
      if (node.isRunning) this.#tick(node)
      this.#world.time.after(TICK_MS, tick, node.owner)
    }
    this.#world.time.after(this.#world.random.between(0, TICK_MS), tick, node.owner)
  }

  get #nodes(): readonly SimulatedNode[] {
    return this.#world.nodes
  }

  get #timeoutMs(): number {
    return this.#world.plan.nodeTimeoutMs
  }

  #tick(node: SimulatedNode): void {
    for (const other of this.#nodes) {
      if (other !== node && this.#canTalk(node, other)) this.#exchange(node, other)
    }
    this.#suspect(node)
    this.#judgeHealth(node)
    if (!node.isMaster) {
      this.#follow(node)
      this.#maybeTakeOver(node)
    }
  }

  #canTalk(a: SimulatedNode, b: SimulatedNode): boolean {
    const { network, time } = this.#world
    return (
      b.isRunning &&
      b.owner.pausedUntil <= time.now &&
      network.passes(a.owner, b.owner) &&
      network.passes(b.owner, a.owner)
    )
  }

  // A ping and the pong that answers it.
  #exchange(a: SimulatedNode, b: SimulatedNode): void {
    this.#hear(b, a)
    this.#hear(a, b)
  }

  #hear(node: SimulatedNode, sender: SimulatedNode): void {
    const { view } = node
    const { now } = this.#world.time
    const known = view.peer(sender.id)
    const me = sender.view.me
    const isNews = node.compared.get(sender.id) !== versions(node, sender)
    known.heardAt = now
    known.isSuspected = false
    if (known.isFailed && this.#isBack(node, known)) known.isFailed = false
    view.currentEpoch = Math.max(view.currentEpoch, sender.view.currentEpoch)
    this.#takeReports(node, sender)
    if (me.role === 'replica') {
      known.masterId = me.masterId
      if (known.role === 'master') {
        known.role = 'replica'
        for (let slot = 0; slot < SLOT_COUNT; slot++) {
          if (view.owners[slot] === sender.id) this.setOwner(node, slot, undefined)
        }
      }
      view.setEpoch(known, me.epoch)
    } else {
      known.role = 'master'
      known.masterId = undefined
      view.setEpoch(known, me.epoch)
      // Most news is of other nodes.
      if (
        isNews &&
        sender.view.slotCount(sender.id) > 0 &&
        (view.unclaimed.size > 0 || !view.agreesWith(sender.view, sender.id))
      ) {
        this.claim(node, sender.id, me.epoch, sender.view.owners)
      }
    }
    if (isNews && me.role === 'master') this.#tellNewerOwner(node, sender)
    node.compared.set(sender.id, versions(node, sender))
    // If two masters have the same epoch, one of them takes a new one.
    if (
      node.isMaster &&
      me.role === 'master' &&
      me.epoch === view.me.epoch &&
      node.id < sender.id
    ) {
      view.setEpoch(view.me, ++view.currentEpoch)
    }
  }

  // For a node that comes back and claims slots that another node took over in the meantime.
  #tellNewerOwner(node: SimulatedNode, sender: SimulatedNode): void {
    if (node.view.agreesWith(sender.view, sender.id)) return
    const told = new Set<string>()
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if (sender.view.owners[slot] !== sender.id) continue
      const owner = node.view.owners[slot]
      if (owner === undefined || owner === sender.id || told.has(owner)) continue
      if (node.view.unclaimed.has(slot)) continue
      const { epoch } = node.view.peer(owner)
      if (epoch <= sender.view.me.epoch) continue
      told.add(owner)
      const peer = sender.view.peer(owner)
      peer.role = 'master'
      peer.masterId = undefined
      sender.view.setEpoch(peer, Math.max(peer.epoch, epoch))
      this.claim(sender, owner, epoch, node.view.owners)
    }
  }

  /**
   * A master claims slots. The claim is accepted if its epoch is higher than the previous owner's.
   * A master that loses some of its slots, but not all, deletes their keys
   * (clusterUpdateSlotsConfigWith).
   */
  claim(
    node: SimulatedNode,
    claimant: string,
    epoch: number,
    owners: ReadonlyArray<string | undefined>
  ): void {
    const { view } = node
    const { me } = view
    const followed = me.role === 'master' ? me.id : me.masterId
    let lost = 0
    const lostSlots = new Set<number>()
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      const owner = view.owners[slot]
      if (owners[slot] !== claimant) {
        if (owner === claimant) view.unclaimed.add(slot)
        continue
      }
      if (owner === claimant) view.unclaimed.delete(slot)
      if (owner === claimant || view.importing.has(slot)) continue
      if (owner !== undefined && view.peer(owner).epoch >= epoch && !view.unclaimed.has(slot)) {
        continue
      }
      if (owner === followed) lost++
      if (owner === me.id) lostSlots.add(slot)
      this.setOwner(node, slot, claimant)
    }
    if (lost > 0 && followed !== undefined && view.slotCount(followed) === 0) {
      this.#demote(node, claimant)
    } else if (lostSlots.size > 0) {
      node.dropSlots(lostSlots)
    }
  }

  /**
   * Changes the owner of a slot in one node's view. If the slot leaves the node, its subscribers
   * are told.
   */
  setOwner(node: SimulatedNode, slot: number, owner: string | undefined): void {
    const before = node.view.owners[slot]
    if (before === owner) return
    node.view.setOwner(slot, owner)
    if (before === node.id) {
      node.endSubscriptions(slot)
      node.view.migrating.delete(slot)
    }
  }

  #demote(node: SimulatedNode, master: string): void {
    const wasMaster = node.isMaster
    const { me } = node.view
    me.role = 'replica'
    me.masterId = master
    node.electionAt = undefined
    node.upstream?.break()
    for (const link of [...node.links]) link.break()
    node.view.migrating.clear()
    node.view.importing.clear()
    if (!wasMaster) return
    this.#world.trace.note(`${node.name} becomes a replica of ${this.#world.node(master).name}`)
    for (const session of node.sessions) session.unblock()
  }

  #takeReports(node: SimulatedNode, sender: SimulatedNode): void {
    if (!sender.isMaster || sender.view.slotCount(sender.id) === 0) return
    for (const peer of sender.view.peers.values()) {
      if (peer.id === node.id) continue
      const { reports } = node.view.peer(peer.id)
      if (peer.isSuspected || peer.isFailed) reports.set(sender.id, this.#world.time.now)
      else reports.delete(sender.id)
    }
  }

  #suspect(node: SimulatedNode): void {
    const { now } = this.#world.time
    const { view } = node
    for (const peer of view.peers.values()) {
      if (peer.id === node.id || peer.isFailed) continue
      if (now - peer.heardAt > this.#timeoutMs) peer.isSuspected = true
      if (!peer.isSuspected) continue
      const reports = [...peer.reports].filter(
        ([id, at]) =>
          id !== node.id && now - at <= 2 * this.#timeoutMs && view.peer(id).role === 'master'
      ).length
      if (reports + (node.isMaster && view.slotCount(node.id) > 0 ? 1 : 0) >= view.quorum) {
        this.#fail(node, peer)
      }
    }
  }

  // A FAIL message goes to everybody at once.
  #fail(node: SimulatedNode, { id }: Peer): void {
    this.#world.trace.note(`${node.name} finds ${this.#world.node(id).name} failed`)
    for (const other of this.#nodes) {
      if (other.id === id || (other !== node && !this.#canTalk(node, other))) continue
      const peer = other.view.peer(id)
      peer.isFailed = true
      peer.isSuspected = false
      peer.failedAt = this.#world.time.now
    }
  }

  // clearNodeFailureIfNeeded (cluster.c): a master with slots stays failed for a while, because a
  // replica may be about to replace it.
  #isBack(node: SimulatedNode, peer: Peer): boolean {
    if (peer.role === 'replica' || node.view.slotCount(peer.id) === 0) return true
    return this.#world.time.now - peer.failedAt > 2 * this.#timeoutMs
  }

  #judgeHealth(node: SimulatedNode): void {
    const { view } = node
    const { now } = this.#world.time
    const reachable = view.voters.filter(
      peer => peer.id === node.id || (!peer.isFailed && !peer.isSuspected)
    ).length
    const isHealthy = reachable >= view.quorum
    if (!isHealthy) node.downUntil = Infinity
    else if (node.downUntil === Infinity) {
      // A master that comes back waits before it accepts writes again, because it may have been
      // replaced.
      node.downUntil = node.isMaster ? now + Math.min(5000, Math.max(500, this.#timeoutMs)) : now
    }
  }

  #follow(node: SimulatedNode): void {
    const { masterId } = node.view.me
    if (masterId === undefined) return
    const above = node.view.peer(masterId)
    // A replica whose master has become a replica follows that replica's master
    // (clusterUpdateSlotsConfigWith, "sub-replica").
    if (above.role === 'replica' && above.masterId !== undefined && above.masterId !== node.id) {
      return this.#demote(node, above.masterId)
    }
    const master = this.#world.node(masterId)
    if (node.upstream !== undefined) {
      if (node.upstream.master === master) return
      node.upstream.break()
    }
    if (
      !master.isRunning ||
      master.mood === 'loading' ||
      !this.#canTalk(node, master) ||
      !master.isMaster
    ) {
      return
    }
    this.attach(node, master).start()
  }

  /** A link from a master to a replica, not started yet. */
  attach(node: SimulatedNode, master: SimulatedNode): ReplicationLink {
    const link = new ReplicationLink(this.#world, master, node)
    node.upstream = link
    master.links.add(link)
    return link
  }

  #maybeTakeOver(node: SimulatedNode): void {
    const { view } = node
    const { now } = this.#world.time
    const master = view.me.masterId === undefined ? undefined : view.peer(view.me.masterId)
    if (
      master === undefined ||
      !master.isFailed ||
      view.slotCount(master.id) === 0 ||
      node.isSynchronizing ||
      node.mood === 'loading' ||
      this.#isTooOld(node)
    ) {
      node.electionAt = undefined
      return
    }
    if (node.electionAt === undefined) {
      const rank = this.#nodes.filter(
        other =>
          other !== node &&
          !other.isMaster &&
          other.view.me.masterId === master.id &&
          other.offset > node.offset &&
          this.#canTalk(node, other)
      ).length
      node.electionAt =
        now + ELECTION_MS + this.#world.random.between(0, ELECTION_MS) + rank * RANK_MS
      return
    }
    if (now < node.electionAt) return
    view.currentEpoch++
    if (this.#votes(node, master.id, false) >= view.quorum) this.#promote(node, master.id)
    else {
      node.electionAt =
        now + 2 * Math.max(2 * this.#timeoutMs, 2000) + this.#world.random.between(0, ELECTION_MS)
    }
  }

  // clusterHandleSlaveFailover (cluster.c): the data of a replica that has not heard from its
  // master since it started counts as infinitely old.
  #isTooOld(node: SimulatedNode): boolean {
    const { validityFactor } = this.#world.plan
    if (validityFactor === 0 || node.upstream?.state === 'online') return false
    const ageMs = this.#world.time.now - (node.unlinkedAt ?? -Infinity)
    return ageMs - this.#timeoutMs > REPLICATION_PING_MS + this.#timeoutMs * validityFactor
  }

  #votes(node: SimulatedNode, masterId: string, isManual: boolean): number {
    return this.#nodes.filter(
      voter =>
        voter !== node &&
        this.#canTalk(node, voter) &&
        this.#votesFor(voter, node, masterId, isManual)
    ).length
  }

  /** @param isManual the master has agreed, so it need not have failed */
  #votesFor(
    voter: SimulatedNode,
    candidate: SimulatedNode,
    masterId: string,
    isManual: boolean
  ): boolean {
    const { view } = voter
    const { now } = this.#world.time
    if (!voter.isMaster || view.slotCount(voter.id) === 0) return false
    const epoch = candidate.view.currentEpoch
    if (epoch < view.currentEpoch || view.lastVoteEpoch >= epoch) return false
    if (!isManual && !view.peer(masterId).isFailed) return false
    if (now - (voter.votedAt.get(masterId) ?? -Infinity) < 2 * this.#timeoutMs) return false
    const claimed = candidate.view.peer(masterId).epoch
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if (candidate.view.owners[slot] !== masterId) continue
      const owner = view.owners[slot]
      if (owner !== undefined && view.peer(owner).epoch > claimed) return false
    }
    view.currentEpoch = epoch
    view.lastVoteEpoch = epoch
    voter.votedAt.set(masterId, now)
    return true
  }

  /**
   * CLUSTER FAILOVER: the master pauses, the replica receives everything that the master has, and
   * then takes over.
   */
  failOver(node: SimulatedNode): void {
    const { upstream } = node
    if (
      upstream === undefined ||
      upstream.state !== 'online' ||
      !upstream.master.isMaster ||
      node.mood === 'loading' ||
      node.owner.pausedUntil > this.#world.time.now
    ) {
      return
    }
    const { master } = upstream
    if (!this.#canTalk(node, master) || master.mood === 'loading' || !upstream.drain()) return
    // The master announces its offset in a packet whose header contains its epoch.
    this.#hear(node, master)
    node.view.currentEpoch++
    if (this.#votes(node, master.id, true) >= node.view.quorum) this.#promote(node, master.id)
  }

  #promote(node: SimulatedNode, masterId: string): void {
    const { view } = node
    this.#world.onPromotion(node, this.#world.node(masterId))
    view.me.role = 'master'
    view.me.masterId = undefined
    view.setEpoch(view.me, view.currentEpoch)
    node.electionAt = undefined
    node.upstream?.break()
    node.replicationId = `${node.name}@${view.currentEpoch}`
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if (view.owners[slot] === masterId) this.setOwner(node, slot, node.id)
    }
    for (const other of this.#nodes) {
      if (other !== node && this.#canTalk(node, other)) this.#hear(other, node)
    }
  }
}

// Neither ever goes back, so two pairs of versions with the same sum are the same.
const versions = (a: SimulatedNode, b: SimulatedNode): number => a.view.version + b.view.version
