// The Redis Cluster as the rest of the process sees it: commands by slot, retried until they are
// answered or their deadline passes. It connects the parts: which node owns what (cluster-view.ts),
// how a command reaches its owner (slot-sender.ts), the connections (nodes.ts), and what Redis must
// allow (suitability.ts). Invariant: nothing is written while Redis is known to refuse what the
// service needs, and nothing is read while data is known to be lost.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError, messageOf } from '../errors.js'
import { untilAcknowledged } from './acknowledged.js'
import { addressKey, type Address } from './address.js'
import { ClusterView } from './cluster-view.js'
import { type Reply } from './connection.js'
import {
  type Args,
  sendCommand,
  sendRead,
  sendUnacknowledged,
  sendWrite,
  SlotSender
} from './slot-sender.js'
import { Importers } from './importers.js'
import { isLoss, Markers } from './markers.js'
import { type Written } from './node-pipeline.js'
import { Nodes, type NodesOptions } from './nodes.js'
import { nextStep, refusalOf } from './redirect.js'
import { type Requirements } from './requirements.js'
import { Suitability } from './suitability.js'
import { type Topology } from './topology.js'

export type ClusterOptions = NodesOptions & {
  readonly topologyRefreshMs: number
  /**
   * What Redis must allow the service to do. Checked at start and for nodes that join; not checked
   * if omitted.
   */
  readonly requirements?: Requirements
}

/** What the process counts about its cluster; telemetry.ts connects these to the metrics. */
export type ClusterEvents = {
  retried: (why: string) => void
  degraded: (node: string, isDegraded: boolean) => void
  /** The link to a node that the others hear is cut, or works again. */
  cutOff?: (node: string, isCutOff: boolean) => void
  /** Redis refuses something permanently, or no longer does (undefined). */
  refused?: (fault: DialogsError | undefined) => void
  /** Says in one sentence what the service cannot check or guarantee with this Redis. */
  warned?: (text: string) => void
}

/** How long the first look waits between two attempts. */
const FIRST_LOOK_PAUSE_MS = 200

export class Cluster {
  readonly #options: ClusterOptions
  readonly #nodes: Nodes
  readonly #view: ClusterView
  readonly #sender: SlotSender
  readonly #importers: Importers
  readonly #markers: Markers
  readonly #suitability: Suitability | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor(options: ClusterOptions, events: ClusterEvents) {
    this.#options = options
    this.#nodes = new Nodes(options, {
      degraded: events.degraded,
      cutOff: events.cutOff,
      refused: error => {
        this.refused(error)
      },
      verify: (node, connection) => this.#markers.verify(node, key => connection.send(['GET', key]))
    })
    this.#view = new ClusterView(
      this.#nodes,
      haveMastersChanged => {
        if (haveMastersChanged) this.#suitability?.checkSoon()
        this.#suitability?.follow(this.#view.livingNodes)
      },
      error => {
        // At the start, `connect` throws it.
        if (this.#timer !== undefined) this.refused(refusalOf(error))
      }
    )
    this.#sender = new SlotSender({
      view: this.#view,
      storeDeadlineMs: options.storeDeadlineMs,
      onRetry: why => {
        events.retried(why)
      },
      onRefused: error => {
        this.refused(error)
      }
    })
    this.#markers = new Markers({
      get: (slot, key) =>
        this.#sender
          .send(slot, {
            args: ['GET', key],
            deadline: performance.now() + options.connectTimeoutMs,
            send: sendCommand
          })
          .then(
            ({ reply }) => reply,
            error => (isLoss(error) ? null : undefined)
          ),
      set: async (slot, args) => {
        const deadline = performance.now() + options.storeDeadlineMs
        await untilAcknowledged(
          () => this.#sender.send(slot, { args, deadline, send: sendWrite }),
          deadline
        )
      },
      isStranded: key => this.isStranded(key).catch(() => true),
      topology: () => this.#view.topology
    })
    this.#importers = new Importers(this.#nodes)
    this.#suitability =
      options.requirements === undefined
        ? undefined
        : new Suitability({
            requirements: options.requirements,
            replicaAcks: options.replicaAcks,
            ask: (node, args) => this.#nodes.views.askInTime(node, args),
            examineData: () => this.#markers.check(),
            onFault: fault => {
              events.refused?.(fault)
            },
            onWarning: text => {
              events.warned?.(text)
            }
          })
  }

  /**
   * Finds the cluster through its seeds, and checks that Redis allows what the service needs.
   * @throws DialogsError STORE_UNAVAILABLE when no seed answers as part of a cluster within the
   * deadline; STORE_DENIED or STORE_UNSUITABLE when Redis refuses the login or something that the
   * service needs; STORE_LOST when data is missing
   */
  static async connect(options: ClusterOptions, events: ClusterEvents): Promise<Cluster> {
    const cluster = new Cluster(options, events)
    try {
      await cluster.#firstLook(performance.now() + options.storeDeadlineMs)
      await cluster.#suitability?.start(cluster.#view.livingNodes)
    } catch (error) {
      cluster.close()
      throw error
    }
    cluster.#timer = setInterval(() => {
      cluster.refresh().catch(() => undefined)
    }, options.topologyRefreshMs)
    cluster.#timer.unref()
    return cluster
  }

  async #firstLook(deadline: number): Promise<void> {
    for (;;) {
      try {
        return await this.refresh()
      } catch (error) {
        const step = nextStep(error, '')
        if (step.kind === 'give-up' && step.error instanceof DialogsError) throw step.error
        if (step.kind === 'give-up' || performance.now() > deadline) {
          throw new DialogsError(
            'STORE_UNAVAILABLE',
            `No Redis Cluster at ${this.#options.seeds.map(addressKey).join(', ')}: ${messageOf(error)}`,
            { cause: error }
          )
        }
        await sleep(FIRST_LOOK_PAUSE_MS)
      }
    }
  }

  get topology(): Topology {
    return this.#view.topology
  }

  /**
   * Why the cluster as a whole cannot take work now, according to a topology look at most a second
   * old; undefined if it can.
   */
  async outage(): Promise<DialogsError | undefined> {
    const outage = await this.#view.outage()
    return this.#suitability?.fault ?? outage
  }

  /**
   * Notes that Redis has refused something. If the refusal is permanent, all writes are refused
   * until a periodic check finds that Redis allows it again.
   */
  refused(error: unknown): void {
    this.#suitability?.note(error)
  }

  /**
   * Calls back after every topology look and every MOVED, so that the subscriber can move its
   * channels.
   */
  onChange(listener: () => void): void {
    this.#view.onChange(listener)
  }

  /**
   * Sends one command to the master of a slot, and repeats it while the cluster says "elsewhere" or
   * "not now". Only for commands that may run twice without harm: if the connection breaks, nobody
   * knows whether the command ran.
   * @param deadline on the clock of performance.now(); by default STORE_DEADLINE_MS after the first
   * failed attempt
   * @throws DialogsError STORE_UNAVAILABLE after the deadline; STORE_LOST while data is known to be
   * lost; or the code of a permanent refusal
   */
  async command(slot: number, args: Args, deadline?: number): Promise<Reply> {
    this.#refuseIfLost()
    return (await this.#sender.send(slot, { args, deadline, send: sendCommand })).reply
  }

  /** As `command`, on the connection for large replies. */
  async read(slot: number, args: Args, deadline?: number): Promise<Reply> {
    this.#refuseIfLost()
    return (await this.#sender.send(slot, { args, deadline, send: sendRead })).reply
  }

  /**
   * As `command`, on a connection for writes. The result has a promise that tells when replicas
   * have the write.
   * @param inMigration makes the command to send instead if the slot is moving and the keys are on
   * both nodes (TRYAGAIN)
   */
  write(slot: number, args: Args, deadline?: number, inMigration?: () => Args): Promise<Written> {
    // Refused here already, because a later step of the same POST would be refused too, and this
    // write would be stored for nothing.
    if (this.#suitability?.fault !== undefined) return Promise.reject(this.#suitability.fault)
    return this.#sender.send(slot, { args, deadline, send: sendWrite, inMigration })
  }

  /**
   * As `write`, but resolves once replicas have the write. If only the acknowledgement is lost with
   * a connection, the command is repeated.
   * @returns the reply to the first attempt: a repetition finds the work done
   * @throws as `write`; also DialogsError NOT_REPLICATED
   */
  async acknowledged(
    slot: number,
    args: Args,
    deadline: number,
    inMigration?: () => Args
  ): Promise<Reply> {
    return await untilAcknowledged(() => this.write(slot, args, deadline, inMigration), deadline)
  }

  /**
   * As `command`, in the same pipeline as the writes, but without waiting for a replica. Beside
   * writes it costs no packet of its own, and without writes no WAIT. Both matter: at 1,000
   * messages a second over 5,000 rooms, nearly every command is alone.
   */
  async unacknowledged(slot: number, args: Args, deadline?: number): Promise<Reply> {
    if (this.#suitability?.fault !== undefined) throw this.#suitability.fault
    return (await this.#sender.send(slot, { args, deadline, send: sendUnacknowledged })).reply
  }

  /**
   * Whether a key that its slot's owner does not have may be on another node: the one that the slot
   * was moving to when its previous owner died. The key can be reached again once that move is
   * finished. Cheap, because the nodes are asked at most once a second for all keys together.
   * @throws DialogsError if Redis permanently refuses to say it
   */
  async isStranded(key: string): Promise<boolean> {
    try {
      return await this.#importers.mayHave(key)
    } catch (error) {
      this.refused(error)
      throw error
    }
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async onNode(key: string, args: string[]): Promise<Reply> {
    return await this.#nodes.ask(key, args)
  }

  /** Looks at the topology again. Calls made during a look share it. */
  async refresh(): Promise<void> {
    await this.#view.refresh()
  }

  /** Notes a MOVED that a subscription received. */
  moved(slot: number, announced: Address): void {
    this.#view.move(slot, announced)
  }

  close(): void {
    this.#sender.close()
    clearInterval(this.#timer)
    this.#suitability?.close()
    this.#nodes.close()
  }

  /** The operator accepts that data was lost; the service then works with what is left. */
  async acceptLoss(): Promise<void> {
    await this.#markers.write()
  }

  // A room whose log was lost would look like a room in which nobody has written.
  #refuseIfLost(): void {
    const fault = this.#suitability?.fault
    if (isLoss(fault)) throw fault
  }
}
