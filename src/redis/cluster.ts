// The Redis Cluster as the rest of the process sees it: commands by slot, retried until they are
// answered or their deadline passes. The only module that knows which node owns a slot. It looks at
// the topology again on MOVED, on a lost or refused connection, when a master fails, and from time
// to time. (node-redis' own cluster client looks only on MOVED, and hangs while a killed master
// stays dead.) Invariant: a command that fails here was retried until its deadline, or was refused
// for a reason that will not go away by itself.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { DialogsError, messageOf } from '../errors.js'
import { untilAcknowledged } from './acknowledged.js'
import { addressKey, type Address } from './address.js'
import { ConnectionLost, type Reply } from './connection.js'
import { Importers } from './importers.js'
import { isLoss, Markers } from './markers.js'
import { type Written } from './node-pipeline.js'
import { Nodes, type Node, type NodesOptions } from './nodes.js'
import { nextStep, type NextStep } from './redirect.js'
import { type Requirements } from './requirements.js'
import { scriptText } from './script.js'
import { Suitability } from './suitability.js'
import { SLOT_COUNT } from './slots.js'
import { Topology } from './topology.js'

export type ClusterOptions = NodesOptions & {
  readonly topologyRefreshMs: number
  /**
   * What Redis must allow the service to do. Checked at start and for nodes that join; not checked
   * if omitted.
   */
  readonly requirements?: Requirements
}

/** What the process counts about its cluster; app.ts connects these to the metrics. */
export type ClusterEvents = {
  retried: (why: string) => void
  degraded: (node: string, isDegraded: boolean) => void
  /** The link to a node that the others hear is cut, or works again. */
  cutOff?: (node: string, isCutOff: boolean) => void
  /** Redis refuses something permanently, or no longer does (undefined). */
  refused?: (fault: DialogsError | undefined) => void
  /** What the service cannot check or guarantee with this Redis, in one sentence. */
  doubted?: (text: string) => void
}

export type Args = Array<string | Buffer>
type Send = (
  node: Node,
  args: Args,
  isAsking: boolean,
  resolve: (written: Written) => void,
  reject: (error: unknown) => void
) => void
type Command = {
  readonly args: Args
  readonly deadline: number | undefined
  readonly send: Send
  /** What to send instead if the slot is moving and the keys are on both sides. */
  readonly inMigration?: Args | undefined
}

const REFRESH_PAUSE_MS = 50
const VIEWS = 3
/** The greatest age of a topology look that `outage` relies on. */
const FRESH_MS = 1000
const BACKOFF_MS_MIN = 5
const BACKOFF_MS_MAX = 200
/**
 * This many redirections are followed at once; later ones after a pause, in case they go round in a
 * circle.
 */
const REDIRECTS_AT_ONCE = 5

export class Cluster {
  readonly #options: ClusterOptions
  readonly #events: ClusterEvents
  readonly #nodes: Nodes
  readonly #importers: Importers
  readonly #markers: Markers
  readonly #listeners = new Set<() => void>()
  readonly #abort = new AbortController()
  readonly #suitability: Suitability | undefined
  #topology = Topology.empty()
  /** Why the last topology look failed, if it did. */
  #blindness: unknown
  #refreshing: Promise<void> | undefined
  #refreshedAt = -Infinity
  #timer: NodeJS.Timeout | undefined

  private constructor(options: ClusterOptions, events: ClusterEvents) {
    this.#options = options
    this.#events = events
    this.#nodes = new Nodes(options, {
      degraded: events.degraded,
      cutOff: events.cutOff,
      refused: error => {
        this.refused(error)
      },
      verify: (node, connection) => this.#markers.verify(node, key => connection.send(['GET', key]))
    })
    this.#markers = new Markers({
      get: (slot, key) =>
        this.#persist(slot, {
          args: ['GET', key],
          deadline: performance.now() + options.connectTimeoutMs,
          send: sendCommand
        }).then(
          ({ reply }) => reply,
          error => (isLoss(error) ? null : undefined)
        ),
      set: (slot, args) => {
        const deadline = performance.now() + options.storeDeadlineMs
        return untilAcknowledged(
          () => this.#persist(slot, { args, deadline, send: sendWrite }),
          deadline
        )
      },
      isStranded: key => this.isStranded(key),
      topology: () => this.#topology
    })
    this.#importers = new Importers(this.#nodes)
    this.#suitability =
      options.requirements === undefined
        ? undefined
        : new Suitability({
            requirements: options.requirements,
            replicaAcks: options.replicaAcks,
            ask: (node, args) => this.#nodes.askInTime(node, args),
            examineData: () => this.#markers.check(),
            onFault: fault => {
              events.refused?.(fault)
            },
            onDoubt: text => {
              events.doubted?.(text)
            }
          })
  }

  /**
   * @throws DialogsError STORE_UNAVAILABLE when no seed answers as part of a cluster within the
   * deadline; STORE_DENIED or STORE_UNSUITABLE when Redis refuses the login or something that the
   * service needs
   */
  static async connect(options: ClusterOptions, events: ClusterEvents): Promise<Cluster> {
    const cluster = new Cluster(options, events)
    try {
      await cluster.#firstLook(performance.now() + options.storeDeadlineMs)
      await cluster.#suitability?.start(cluster.#livingNodes)
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
        await sleep(BACKOFF_MS_MAX)
      }
    }
  }

  get topology(): Topology {
    return this.#topology
  }

  /**
   * Why the cluster as a whole cannot take work now, according to a topology look at most a second
   * old; undefined if it can.
   */
  async outage(): Promise<DialogsError | undefined> {
    if (performance.now() - this.#refreshedAt > FRESH_MS || this.#blindness !== undefined) {
      await this.refresh().catch(() => undefined)
    }
    if (this.#suitability?.fault !== undefined) return this.#suitability.fault
    if (this.#blindness !== undefined) {
      return new DialogsError(
        'STORE_UNAVAILABLE',
        `No node of the cluster answers: ${messageOf(this.#blindness)}`,
        { cause: this.#blindness }
      )
    }
    const { unservedSlots } = this.#topology
    if (unservedSlots === 0) return undefined
    return new DialogsError(
      'STORE_UNAVAILABLE',
      `${unservedSlots} of ${SLOT_COUNT} slots of the cluster are not served: they have no owner, or a failed one.`
    )
  }

  /**
   * Redis has refused something. If that will not go away by itself, writes are refused until it
   * has; this is checked periodically.
   */
  refused(error: unknown): void {
    this.#suitability?.note(error)
  }

  /**
   * Calls back after every topology look and every MOVED; the subscriber then moves its channels.
   */
  onChange(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /**
   * Sends one command to the master of a slot, and repeats it while the cluster says "elsewhere" or
   * "not now". Only for commands that may run twice without harm: if the connection breaks, nobody
   * knows whether the command ran.
   * @param deadline on the clock of performance.now(); by default STORE_DEADLINE_MS after the first
   * failed attempt
   * @throws DialogsError STORE_UNAVAILABLE after the deadline, or the code of a permanent refusal
   */
  async command(slot: number, args: Args, deadline?: number): Promise<Reply> {
    this.#refuseIfLost()
    return (await this.#persist(slot, { args, deadline, send: sendCommand })).reply
  }

  /** As `command`, on the connection for large replies. */
  async read(slot: number, args: Args, deadline?: number): Promise<Reply> {
    this.#refuseIfLost()
    return (await this.#persist(slot, { args, deadline, send: sendRead })).reply
  }

  /**
   * As `command`, on a write connection: the result includes a promise of the replicas'
   * acknowledgement.
   * @param inMigration what to send instead if the slot is moving and its keys are on both sides
   * (TRYAGAIN)
   */
  write(slot: number, args: Args, deadline?: number, inMigration?: Args): Promise<Written> {
    // Otherwise a write could be stored although a later step of the same POST is refused.
    if (this.#suitability?.fault !== undefined) return Promise.reject(this.#suitability.fault)
    return this.#persist(slot, { args, deadline, send: sendWrite, inMigration })
  }

  /**
   * Whether a key that its slot's owner does not have is, or may be, on a node that the slot was
   * moving to when the previous owner died. The key can be reached again once the move is finished.
   * Cheap: the nodes are asked at most once a second.
   */
  async isStranded(key: string): Promise<boolean> {
    return await this.#importers.mayHave(key)
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async onNode(key: string, args: string[]): Promise<Reply> {
    return await this.#nodes.ask(key, args)
  }

  /** Looks at the topology again. Calls made during a look share it. */
  async refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  /** Notes a MOVED that a subscription received. */
  moved(slot: number, announced: Address): void {
    this.#move(slot, this.#nodes.reachable(announced))
  }

  close(): void {
    this.#abort.abort()
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

  // Every command goes through here. Nearly always the first attempt is the only one, and it costs
  // nothing extra.
  #persist(slot: number, command: Command): Promise<Written> {
    const node = this.#ownerOf(slot)
    if (node === undefined) return this.#tryAgain(slot, command, NO_OWNER, undefined)
    return new Promise(resolve => {
      command.send(node, command.args, false, resolve, error => {
        resolve(this.#tryAgain(slot, command, error, node))
      })
    })
  }

  // Bounded by the deadline and by close().
  async #tryAgain(
    slot: number,
    original: Command,
    firstError: unknown,
    firstNode: Node | undefined
  ): Promise<Written> {
    const until = original.deadline ?? performance.now() + this.#options.storeDeadlineMs
    let command = original
    let failure = { error: firstError, node: firstNode }
    let wasLost = false
    for (let tries = 0; ; tries++) {
      const { error, node } = failure
      if (node !== undefined && error instanceof ConnectionLost) {
        wasLost = true
        node.lost()
      }
      const step = nextStep(error, node?.address.host ?? '')
      this.#events.retried(step.kind)
      if (step.kind === 'give-up') {
        this.refused(step.error)
        throw step.error
      }
      if (this.#abort.signal.aborted || performance.now() >= until) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The store does not answer: try again with the same Idempotency-Key.',
          { cause: error }
        )
      }
      await this.#pauseBefore(step, command, tries)
      command = adapted(command, step)
      const to =
        step.kind === 'ask' ? this.#nodes.add(this.#nodes.reachable(step.to)) : this.#ownerOf(slot)
      try {
        const written = await sendOnce(command, to, step.kind === 'ask')
        return wasLost ? { ...written, wasLost } : written
      } catch (error) {
        failure = { error, node: to }
      }
    }
  }

  // If another node is known, it is tried at once. Otherwise look at the topology and give the node
  // a moment.
  async #pauseBefore(step: NextStep, command: Command, tries: number): Promise<void> {
    const isAtOnce = tries < REDIRECTS_AT_ONCE && hasWay(step, command)
    if (step.kind === 'moved') this.#move(step.slot, this.#nodes.reachable(step.to))
    if (step.kind === 'moved' || (step.kind === 'again' && step.mayHaveMoved)) {
      await this.#refreshSoon(isAtOnce)
    }
    if (!isAtOnce) await sleep(backoffMs(tries, BACKOFF_MS_MIN, BACKOFF_MS_MAX))
  }

  #ownerOf(slot: number): Node | undefined {
    const key = this.#topology.ownerOf(slot)
    return key === undefined ? undefined : this.#nodes.get(key)
  }

  #move(slot: number, to: Address): void {
    const key = addressKey(to)
    if (this.#topology.ownerOf(slot) === key) return
    if (!this.#topology.nodes.has(key)) this.#nodes.forgetEndpoints()
    this.#nodes.add(to)
    this.#topology.move(slot, key)
    for (const listener of this.#listeners) listener()
  }

  // After a MOVED the new owner is already known, so nobody waits for the look. Otherwise the look
  // may find another owner.
  async #refreshSoon(isInBackground: boolean): Promise<void> {
    if (performance.now() - this.#refreshedAt < REFRESH_PAUSE_MS) return
    const refreshed = this.refresh().catch(() => undefined)
    if (!isInBackground) await refreshed
  }

  async #look(): Promise<void> {
    try {
      // This does not lose a MOVED: the view with the highest epoch includes it.
      const before = this.#topology.masters.join()
      const topology = Topology.fromViews(await this.#nodes.views(VIEWS))
      this.#nodes.follow(topology)
      this.#topology = topology
      this.#blindness = undefined
      if (topology.masters.join() !== before) this.#suitability?.checkSoon()
    } catch (error) {
      this.#blindness = error
      throw error
    } finally {
      this.#refreshedAt = performance.now()
    }
    this.#suitability?.follow(this.#livingNodes)
    for (const listener of this.#listeners) listener()
  }

  get #livingNodes(): string[] {
    return [...this.#topology.nodes].filter(([, { isFailed }]) => !isFailed).map(([key]) => key)
  }
}

const hasWay = (step: NextStep, { inMigration }: Command): boolean =>
  step.kind === 'moved' ||
  step.kind === 'ask' ||
  step.kind === 'no-script' ||
  (step.kind === 'half-moved' && inMigration !== undefined)

/** The command as it must be sent from now on. */
function adapted(command: Command, step: NextStep): Command {
  if (step.kind === 'half-moved' && command.inMigration !== undefined) {
    return { ...command, args: command.inMigration, inMigration: undefined }
  }
  if (step.kind === 'no-script') {
    return { ...command, args: ['EVAL', scriptText(command.args[1]), ...command.args.slice(2)] }
  }
  return command
}

async function sendOnce(
  { args, send }: Command,
  node: Node | undefined,
  isAsking: boolean
): Promise<Written> {
  if (node === undefined) throw NO_OWNER
  return await new Promise((resolve, reject) => {
    send(node, args, isAsking, resolve, reject)
  })
}

const sendCommand: Send = (node, args, isAsking, resolve, reject) => {
  node.commands.send(args, isAsking, resolve, reject)
}
const sendWrite: Send = (node, args, isAsking, resolve, reject) => {
  node.writes.send(args, isAsking, resolve, reject)
}
const sendRead: Send = (node, args, isAsking, resolve, reject) => {
  read(node, args, isAsking).then(resolve, reject)
}

async function read(node: Node, args: Args, isAsking: boolean): Promise<Written> {
  const connection = node.reads.current ?? (await node.reads.open())
  if (isAsking) connection.send(['ASKING']).catch(() => undefined)
  return { reply: await connection.send(args), replicated: NOTHING_TO_REPLICATE, wasLost: false }
}

const NOTHING_TO_REPLICATE = Promise.resolve()

const NO_OWNER = new ConnectionLost('No node of the cluster answers')
