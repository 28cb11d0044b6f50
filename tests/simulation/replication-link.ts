// The link from a master to one replica. It carries first the whole data set, then each effect,
// late and in order, and back what the replica has acknowledged. It is broken when either node
// dies, and silent while they cannot reach each other.
import { type Held, type Keyspace } from './keyspace.js'
import { type SimulatedNode } from './node.js'
import { type World } from './world.js'

/** A key as a whole, as MIGRATE transfers it. */
export type Restore = {
  readonly key: string
  readonly value: Held
  readonly expiry: number | undefined
}
/** Effects that belong together: those of a command, or of a whole script. */
export type Effects = ReadonlyArray<readonly string[] | Restore>

type Message = { readonly offset: number; readonly effects: Effects }

const HELD_UP_MS = 40
/** How many effects may be on their way to a replica that is in step. */
const IN_STEP = 10
/**
 * From this many effects on, all that are on their way arrive together: a slow link is late, but
 * keeps up with its master.
 */
const QUEUE_LENGTH_MAX = 100
/** How often a replica reports its offset by itself. */
const TELL_MS = 1000

export class ReplicationLink {
  readonly master: SimulatedNode
  readonly replica: SimulatedNode
  state: 'synchronizing' | 'online' | 'broken' = 'synchronizing'
  /** The offset that the replica is known to have. */
  acknowledged = 0
  /** Since when it is online. */
  onlineAt = 0
  /** When the replica last reported its offset. */
  heardAt: number
  readonly #world: World
  readonly #queue: Message[] = []
  /** A request for the offset is on its way. One answer serves everybody who waits. */
  #isAsked = false

  constructor(world: World, master: SimulatedNode, replica: SimulatedNode) {
    this.#world = world
    this.master = master
    this.replica = replica
    this.heardAt = world.time.now
  }

  /** The replica has nearly everything that the master has. */
  get isInStep(): boolean {
    return this.state === 'online' && this.#queue.length < IN_STEP
  }

  /** Sends the whole data set as it is now. Later effects wait behind it. */
  start(): void {
    const { offset, replicationId } = this.master
    const snapshot: Keyspace = this.master.db.clone()
    const isPartial = this.replica.replicationId === replicationId && this.replica.offset === offset
    this.replica.isSynchronizing = !isPartial
    const ms = isPartial
      ? 5
      : this.#world.random.magnitude(20, this.#world.plan.faults.slowSync ? 4000 : 400)
    this.#world.time.after(
      ms,
      () => {
        if (this.state !== 'synchronizing') return
        if (!this.#passes()) return this.break()
        this.replica.load(snapshot, offset, replicationId)
        this.state = 'online'
        this.onlineAt = this.#world.time.now
        this.#deliverSoon()
        this.#tell()
      },
      this.replica.owner
    )
  }

  /** The replica has all that the master has, because nothing has happened yet. */
  startInStep(): void {
    this.state = 'online'
    this.onlineAt = -Infinity
    this.#world.time.after(
      0,
      () => {
        this.#tell()
      },
      this.replica.owner
    )
  }

  send(offset: number, effects: Effects): void {
    if (this.state === 'broken') return
    this.#queue.push({ offset, effects })
    if (this.#queue.length === 1 && this.state === 'online') this.#deliverSoon()
  }

  /** Asks the replica for its offset, as WAIT does. */
  ask(): void {
    if (this.state === 'online' && !this.#isAsked) {
      this.#isAsked = true
      this.#world.time.after(
        this.#lag(),
        () => {
          this.#acknowledge()
        },
        this.replica.owner
      )
    }
  }

  break(): void {
    if (this.state === 'broken') return
    if (this.state === 'online') this.replica.unlinkedAt = this.#world.time.now
    this.state = 'broken'
    this.master.links.delete(this)
    if (this.replica.upstream === this) this.replica.upstream = undefined
  }

  /** Delivers everything that is on its way at once. Returns whether that was possible. */
  drain(): boolean {
    if (this.state !== 'online' || !this.#passes()) return false
    for (const { offset, effects } of this.#queue.splice(0)) this.replica.apply(offset, effects)
    return true
  }

  #deliverSoon(): void {
    if (this.#queue.length > 0) {
      this.#world.time.after(
        this.#lag(),
        () => {
          this.#deliver()
        },
        this.replica.owner
      )
    }
  }

  #deliver(): void {
    if (this.#queue.length === 0 || this.state !== 'online') return
    if (!this.#passes()) {
      this.#world.time.after(
        HELD_UP_MS,
        () => {
          this.#deliver()
        },
        this.replica.owner
      )
      return
    }
    const count = this.#queue.length > QUEUE_LENGTH_MAX ? this.#queue.length : 1
    for (const { offset, effects } of this.#queue.splice(0, count)) {
      this.replica.apply(offset, effects)
    }
    this.#deliverSoon()
  }

  #acknowledge(): void {
    if (this.state !== 'online' || !this.#passes()) {
      this.#isAsked = false
      return
    }
    // Waits behind the effects on their way, because the request travels in the same stream.
    if (this.#queue.length > 0) {
      this.#world.time.after(
        HELD_UP_MS / 8,
        () => {
          this.#acknowledge()
        },
        this.replica.owner
      )
      return
    }
    this.#isAsked = false
    const { offset } = this.replica
    this.#world.time.after(
      this.#lag(),
      () => {
        if (this.state !== 'online' || !this.#passes()) return
        this.acknowledged = offset
        this.heardAt = this.#world.time.now
        this.master.acknowledgedBy()
      },
      this.master.owner
    )
  }

  #tell(): void {
    if (this.state !== 'online') return
    if (this.#queue.length === 0) this.#acknowledge()
    this.#world.time.after(
      TELL_MS,
      () => {
        this.#tell()
      },
      this.replica.owner
    )
  }

  #passes(): boolean {
    const { network } = this.#world
    return (
      network.passes(this.master.owner, this.replica.owner) &&
      network.passes(this.replica.owner, this.master.owner)
    )
  }

  #lag(): number {
    const { random, plan } = this.#world
    return random.chance(plan.faults.lagChance)
      ? random.magnitude(1, plan.faults.lagMsMax)
      : random.between(0.05, 1)
  }
}
