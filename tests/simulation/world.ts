// The simulated world of one run: nodes, instances, clients, and what happens to them. It puts the
// parts together; each part does its own work.
import { DialogsModel } from './dialogs-model.js'
import { hasLiveReplica } from './durability.js'
import { type EventSource } from './event-source.js'
import { inject } from './faults.js'
import { formCluster } from './formation.js'
import { Hearing } from './hearing.js'
import { Instance } from './instance.js'
import { Movers } from './movers.js'
import { Network } from './network.js'
import { type Mood, SimulatedNode } from './node.js'
import { NodeBus } from './node-bus.js'
import { Oracle } from './oracle.js'
import { Pace } from './pace.js'
import { readPage } from './page-reader.js'
import { PersonReader } from './person-reader.js'
import { type Action, type Plan, type SignalRequest } from './plan.js'
import { type Random } from './random.js'
import { type Effects } from './replication-link.js'
import { type Request } from './request.js'
import { RoomReader } from './room-reader.js'
import { sendSignal } from './signal.js'
import { Trace } from './trace.js'
import { newOwner, type Owner, VirtualTime } from './virtual-time.js'
import { write } from './writer.js'

const PORT = 7000
const BACK_MS = 100
const WATCH_MS = 50

export class World {
  readonly plan: Plan
  readonly random: Random
  readonly time: VirtualTime
  readonly network: Network
  readonly trace: Trace
  readonly oracle: Oracle
  readonly dialogs: DialogsModel
  readonly hearing: Hearing
  readonly bus: NodeBus
  readonly movers: Movers
  readonly nodes: readonly SimulatedNode[]
  readonly instances: readonly Instance[]
  readonly readers: RoomReader[] = []
  readonly people: PersonReader[] = []
  readonly requests: Request[] = []
  /** Signals that were sent. */
  readonly signals = new Map<unknown, SignalRequest>()
  /** Every text that was ever written to a block, by `<block key>/<entry id>`. */
  readonly texts = new Map<string, string>()
  readonly owner = newOwner('world')
  readonly clients = newOwner('clients')
  readonly moods = new Set<Mood>()
  readonly #pace = new Pace(this)
  /** Until when each owner was last held up, paused or cut off. */
  readonly #heldUp = new Map<Owner, number>()
  /** By `host:port`: the instances that report that this node goes on without a replica. */
  readonly degraded = new Map<string, Set<string>>()
  /** By `host:port`: when an instance last stopped reporting that. */
  readonly degradedUntil = new Map<string, number>()
  /** When a node last had no replica to wait for. */
  readonly aloneAt = new Map<SimulatedNode, number>()
  isCalm = false

  constructor(plan: Plan, random: Random) {
    this.plan = plan
    this.random = random.fork('world')
    this.time = new VirtualTime(random)
    this.network = new Network(this.time, random, plan.network)
    this.trace = new Trace(this.time)
    this.oracle = new Oracle(this)
    this.dialogs = new DialogsModel(this)
    this.hearing = new Hearing(this)
    this.bus = new NodeBus(this)
    this.movers = new Movers(this)
    this.nodes = Array.from(
      { length: 3 * (1 + plan.replicas) },
      (_, index) => new SimulatedNode(this, `node-${index}`, PORT + index)
    )
    this.instances = Array.from(
      { length: plan.instances },
      (_, index) => new Instance(this, `service-${index}`)
    )
    this.time.onCrash = (owner, error) => {
      this.oracle.onCrash(owner.name, error)
    }
    formCluster(this)
  }

  get owners(): Owner[] {
    return [...this.nodes, ...this.instances].map(({ owner }) => owner)
  }

  /** The streams of all clients. */
  get sources(): EventSource[] {
    return [...this.readers, ...this.people].map(({ source }) => source)
  }

  /** A node has carried out commands: remembers what was appended to blocks. */
  noteTexts(effects: Effects): void {
    this.oracle.rooms.note(effects)
    this.oracle.changes.note(effects)
    this.#pace.note(effects)
    for (const effect of effects) {
      if ('value' in effect || effect[0] !== 'XADD' || effect[3] !== 't') continue
      this.texts.set(`${effect[1] ?? ''}/${effect[2] ?? ''}`, effect[4] ?? '')
    }
  }

  node(id: string): SimulatedNode {
    const node = this.nodes.find(node => node.id === id)
    if (node === undefined) throw new Error(`There is no node ${id}`)
    return node
  }

  nodeAt(index: number): SimulatedNode {
    return this.nodes[index % this.nodes.length] as SimulatedNode
  }

  /** The owner of a slot: of all nodes that claim it, the one with the highest epoch. */
  ownerOf(slot: number): SimulatedNode | undefined {
    let owner: SimulatedNode | undefined
    for (const node of this.nodes) {
      if (!node.isMaster || node.view.owners[slot] !== node.id) continue
      if (owner === undefined || node.view.me.epoch > owner.view.me.epoch) owner = node
    }
    return owner
  }

  /** Starts everything, and schedules the plan's actions. */
  begin(): void {
    for (const node of this.nodes) node.upstream?.startInStep()
    this.#watchReplicas()
    for (const instance of this.instances) instance.start()
    for (const action of this.plan.actions) {
      this.time.after(
        action.at,
        () => {
          this.#act(action)
        },
        this.owner
      )
    }
    this.time.after(
      this.plan.calmAt,
      () => {
        this.#calm()
      },
      this.owner
    )
  }

  crash(node: SimulatedNode): void {
    this.trace.note(`${node.name} crashes`)
    node.stop()
  }

  restart(node: SimulatedNode, loadingMs: number): void {
    if (node.isRunning) return
    this.trace.note(`${node.name} starts again`)
    node.isRunning = true
    node.mood = 'loading'
    for (const peer of node.view.peers.values()) peer.heardAt = this.time.now
    this.time.after(
      loadingMs,
      () => {
        if (node.mood === 'loading') node.mood = undefined
      },
      this.owner
    )
  }

  pause(owner: Owner, ms: number): void {
    owner.pausedUntil = Math.max(owner.pausedUntil, this.time.now + ms)
    this.#heldUp.set(owner, Math.max(this.#heldUp.get(owner) ?? 0, owner.pausedUntil))
  }

  /** Whether a process was stopped, or has ended, after this time. */
  wasHeldUp(owner: Owner, since: number): boolean {
    return owner.isDead || (this.#heldUp.get(owner) ?? -1) >= since
  }

  killInstance(index: number, ms: number): void {
    this.instances[index % this.instances.length]?.kill(ms)
  }

  stopInstance(index: number): void {
    this.instances[index % this.instances.length]?.stop()
  }

  noteDegraded(instance: string, node: string, isDegraded: boolean): void {
    const names = this.degraded.get(node) ?? new Set()
    this.degraded.set(node, names)
    if (isDegraded) names.add(instance)
    else if (names.delete(instance)) this.degradedUntil.set(node, this.time.now)
  }

  onInstanceEnd(instance: Instance): void {
    for (const node of this.degraded.keys()) this.noteDegraded(instance.name, node, false)
    const index = this.instances.indexOf(instance)
    for (const source of this.sources) source.lose(index)
  }

  onPromotion(node: SimulatedNode, master: SimulatedNode): void {
    this.trace.note(`${node.name} takes over from ${master.name}`)
    this.oracle.onPromotion(node, master)
    this.dialogs.onPromotion(node)
  }

  onConflict(): void {
    this.oracle.upheavals++
    this.oracle.changes.onConflict()
    this.oracle.rooms.onConflict()
    this.dialogs.onConflict()
  }

  /**
   * All nodes run and agree about each other, which `npm run cluster` requires before it moves
   * anything.
   */
  get isHealthy(): boolean {
    return this.nodes.every(
      node =>
        node.isRunning &&
        node.mood !== 'loading' &&
        node.owner.pausedUntil <= this.time.now &&
        !(node.isMaster && node.isDown) &&
        [...node.view.peers.values()].every(peer => {
          const other = this.node(peer.id)
          return (
            peer.role === other.view.me.role &&
            !peer.isFailed &&
            !peer.isSuspected &&
            // A node that is importing a slot does not follow changes of that slot's owner.
            Math.abs(node.view.slotCount(peer.id) - other.view.slotCount(peer.id)) <=
              node.view.importing.size + other.view.importing.size
          )
        })
    )
  }

  /**
   * If a stream may not know yet that somebody joined or left: streams look at their lists, as they
   * do within minutes.
   */
  lookAgain(): void {
    if (this.dialogs.disagreementAfterLook === undefined) return
    this.trace.note('people look at their lists')
    for (const { service, owner } of this.instances) {
      this.time.after(
        0,
        () => {
          service?.people.doubtAll()
        },
        owner
      )
    }
  }

  #watchReplicas(): void {
    for (const node of this.nodes) {
      if (node.isMaster && !hasLiveReplica(this, node)) this.aloneAt.set(node, this.time.now)
    }
    this.time.after(
      WATCH_MS,
      () => {
        this.#watchReplicas()
      },
      this.owner
    )
  }

  #act(action: Action): void {
    switch (action.kind) {
      case 'post':
        this.oracle.expect(action)
        this.requests.push(write(this, action))
        return
      case 'change':
        this.requests.push(this.oracle.changes.send(action))
        return
      case 'delete room':
        this.requests.push(this.oracle.rooms.send(action))
        return
      case 'signal':
        this.requests.push(sendSignal(this, action))
        return
      case 'read':
        this.readers.push(new RoomReader(this, `reader-${this.readers.length}`, action))
        return
      case 'follow':
        this.people.push(new PersonReader(this, `person-${this.people.length}`, action))
        return
      case 'page':
        return readPage(this, action)
      case 'mark':
      case 'join':
      case 'leave':
      case 'list':
        return this.dialogs.act(action)
      default:
        inject(this, action)
    }
  }

  // Ends the storm: everything that was broken works again.
  #calm(): void {
    this.trace.note('calm')
    this.isCalm = true
    this.network.heal()
    for (const node of this.nodes) {
      node.mood = undefined
      node.owner.pausedUntil = 0
      if (!node.isRunning) {
        this.time.after(
          BACK_MS,
          () => {
            this.restart(node, BACK_MS)
          },
          this.owner
        )
      }
    }
    for (const { owner } of this.instances) owner.pausedUntil = 0
    this.movers.finishAll()
  }
}
