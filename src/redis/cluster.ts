// The Redis Cluster as the rest of the process sees it: commands by slot, retried until they are answered or their deadline passes.
// The one module that knows which node owns a slot. It looks anew on MOVED, on a lost or refused connection, when a master
// fails, and from time to time; node-redis' own cluster client only does on MOVED, and hangs while a killed master stays dead.
// Invariant: a command that this module gives up on was tried until its deadline, or was refused for a reason that will not go away.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { DialogsError, messageOf } from '../errors.js'
import { addressKey, type Address } from './address.js'
import { ConnectionLost, type Reply } from './connection.js'
import { Importers } from './importers.js'
import { type Written } from './node-pipeline.js'
import { Nodes, type Node, type NodesOptions } from './nodes.js'
import { judge } from './redirect.js'
import { scriptText } from './script.js'
import { Topology } from './topology.js'

export type ClusterOptions = NodesOptions & { readonly refreshMs: number }

/** What the process counts about its cluster; app.ts gives the metrics. */
export type ClusterEvents = {
  retried: (why: string) => void
  degraded: (node: string, isDegraded: boolean) => void
}

export type Args = Array<string | Buffer>
type Send = (node: Node, args: Args, isAsking: boolean, resolve: (written: Written) => void, reject: (error: unknown) => void) => void
type Attempt = { readonly args: Args, readonly deadline: number | undefined, readonly send: Send, readonly inMigration?: Args | undefined }

const REFRESH_PAUSE_MS = 50
const VIEWS = 3
const BACKOFF_MS_MIN = 5
const BACKOFF_MS_MAX = 200
/** MOVED and ASK are followed at once, but not round and round for ever. */
const REDIRECTS_AT_ONCE = 5

export class Cluster {
  readonly #options: ClusterOptions
  readonly #events: ClusterEvents
  readonly #nodes: Nodes
  readonly #importers: Importers
  readonly #listeners = new Set<() => void>()
  readonly #abort = new AbortController()
  #topology = Topology.empty()
  #refreshing: Promise<void> | undefined
  #refreshedAt = -Infinity
  #timer: NodeJS.Timeout | undefined

  private constructor (options: ClusterOptions, events: ClusterEvents) {
    this.#options = options
    this.#events = events
    this.#nodes = new Nodes(options, events.degraded)
    this.#importers = new Importers(this.#nodes)
  }

  /** @throws DialogsError STORE_UNAVAILABLE when no seed answers as a cluster within the deadline, STORE_DENIED when one refuses the login */
  static async connect (options: ClusterOptions, events: ClusterEvents): Promise<Cluster> {
    const cluster = new Cluster(options, events)
    const deadline = performance.now() + options.deadlineMs
    for (;;) {
      try {
        await cluster.refresh()
        break
      } catch (error) {
        const verdict = judge(error, '')
        if (verdict.kind === 'give-up' || performance.now() > deadline) {
          cluster.close()
          if (verdict.kind === 'give-up' && verdict.error instanceof DialogsError) throw verdict.error
          throw new DialogsError('STORE_UNAVAILABLE', `No Redis Cluster at ${options.seeds.map(addressKey).join(', ')}: ${messageOf(error)}`, { cause: error })
        }
        await sleep(BACKOFF_MS_MAX)
      }
    }
    cluster.#timer = setInterval(() => { cluster.refresh().catch(() => undefined) }, options.refreshMs)
    cluster.#timer.unref()
    return cluster
  }

  get topology (): Topology {
    return this.#topology
  }

  /** Calls back after every refresh and every MOVED; the subscriber compares and moves. */
  onChange (listener: () => void): void {
    this.#listeners.add(listener)
  }

  /**
   * Sends one command to the master of a slot, and again as long as the cluster says "elsewhere" or "not now".
   * For commands that may be carried out twice without harm: after a broken connection nobody knows whether the first was.
   * @param deadline on the clock of performance.now(); default: the setting, counted from the first attempt that failed
   * @throws DialogsError STORE_UNAVAILABLE after the deadline, or the code of a refusal that will not go away
   */
  async command (slot: number, args: Args, deadline?: number): Promise<Reply> {
    return (await this.#persist(slot, { args, deadline, send: sendCommand })).reply
  }

  /** As `command`, on the connection for large replies. */
  async read (slot: number, args: Args, deadline?: number): Promise<Reply> {
    return (await this.#persist(slot, { args, deadline, send: sendRead })).reply
  }

  /**
   * As `command`, on a write connection: the answer comes with a promise of the replicas' acknowledgement.
   * @param inMigration what to send instead when the slot is moving and its keys are on both sides (TRYAGAIN)
   */
  write (slot: number, args: Args, deadline?: number, inMigration?: Args): Promise<Written> {
    return this.#persist(slot, { args, deadline, send: sendWrite, inMigration })
  }

  /**
   * Whether a key that its slot's owner does not have is, or may be, at a node that the slot was being moved to when its last owner died. It is
   * reached again when the move is finished. Cheap: the nodes are asked once a second at most.
   */
  async isStranded (key: string): Promise<boolean> {
    return await this.#importers.mayHave(key)
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async onNode (key: string, args: string[]): Promise<Reply> {
    return await this.#nodes.ask(key, args)
  }

  /** Looks at the topology anew. Callers that come while it is being looked at share the look. */
  async refresh (): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => { this.#refreshing = undefined })
    await this.#refreshing
  }

  /** A node said so, to somebody else than `command`. */
  moved (slot: number, announced: Address): void {
    this.#move(slot, this.#nodes.reachable(announced))
  }

  close (): void {
    this.#abort.abort()
    clearInterval(this.#timer)
    this.#nodes.close()
  }

  // What every command goes through. The first attempt is all there is, nearly always, and costs no more than itself.
  #persist (slot: number, attempt: Attempt): Promise<Written> {
    const node = this.#ownerOf(slot)
    if (node === undefined) return this.#tryAgain(slot, attempt, NO_OWNER, undefined)
    return new Promise(resolve => { attempt.send(node, attempt.args, false, resolve, error => { resolve(this.#tryAgain(slot, attempt, error, node)) }) })
  }

  // Limits: the deadline, and close().
  async #tryAgain (slot: number, { args, deadline, send, inMigration }: Attempt, error: unknown, failed: Node | undefined): Promise<Written> {
    const until = deadline ?? performance.now() + this.#options.deadlineMs
    let wasLost = false
    let lastError = error
    let node = failed
    for (let attempt = 0; ; attempt++) {
      const verdict = judge(lastError, node?.address.host ?? '')
      this.#events.retried(verdict.kind)
      if (verdict.kind === 'give-up') throw verdict.error
      wasLost ||= node !== undefined && lastError instanceof ConnectionLost
      const isHalfMoved = verdict.kind === 'again' && verdict.isHalfMoved && inMigration !== undefined && args !== inMigration
      const isAtOnce = (verdict.kind !== 'again' || isHalfMoved) && attempt < REDIRECTS_AT_ONCE
      if (this.#abort.signal.aborted || performance.now() >= until) {
        throw new DialogsError('STORE_UNAVAILABLE', 'The store does not answer: try again with the same Idempotency-Key.', { cause: lastError })
      }
      if (isHalfMoved) args = inMigration
      if (verdict.kind === 'no-script') args = ['EVAL', scriptText(args[1]), ...args.slice(2)]
      if (verdict.kind === 'moved') this.#move(verdict.slot, this.#nodes.reachable(verdict.to))
      if (verdict.kind === 'moved' || (verdict.kind === 'again' && verdict.mayHaveMoved)) await this.#refreshSoon(isAtOnce)
      if (!isAtOnce) await sleep(backoffMs(attempt, BACKOFF_MS_MIN, BACKOFF_MS_MAX))
      node = verdict.kind === 'ask' ? this.#nodes.add(this.#nodes.reachable(verdict.to)) : this.#ownerOf(slot)
      try {
        if (node === undefined) throw NO_OWNER
        const to = node
        const written = await new Promise<Written>((resolve, reject) => { send(to, args, verdict.kind === 'ask', resolve, reject) })
        return wasLost ? { ...written, wasLost } : written
      } catch (error) {
        lastError = error
      }
    }
  }

  #ownerOf (slot: number): Node | undefined {
    const key = this.#topology.ownerOf(slot)
    return key === undefined ? undefined : this.#nodes.get(key)
  }

  #move (slot: number, to: Address): void {
    const key = addressKey(to)
    if (this.#topology.ownerOf(slot) === key) return
    this.#nodes.add(to)
    this.#topology.move(slot, key)
    for (const listener of this.#listeners) listener()
  }

  // After a MOVED the way is known, so nobody waits for the look; otherwise it is what may show another way.
  async #refreshSoon (isInBackground: boolean): Promise<void> {
    if (performance.now() - this.#refreshedAt < REFRESH_PAUSE_MS) return
    const refreshed = this.refresh().catch(() => undefined)
    if (!isInBackground) await refreshed
  }

  async #look (): Promise<void> {
    // What a MOVED said is in the view of the highest epoch: the node that said so is mostly among those that are asked.
    const topology = Topology.fromViews(await this.#nodes.views(VIEWS, this.#topology.masters))
    this.#nodes.follow(topology)
    this.#topology = topology
    this.#refreshedAt = performance.now()
    for (const listener of this.#listeners) listener()
  }
}

const sendCommand: Send = (node, args, isAsking, resolve, reject) => { node.commands.send(args, isAsking, resolve, reject) }
const sendWrite: Send = (node, args, isAsking, resolve, reject) => { node.writes.send(args, isAsking, resolve, reject) }
const sendRead: Send = (node, args, isAsking, resolve, reject) => { read(node, args, isAsking).then(resolve, reject) }

async function read (node: Node, args: Args, isAsking: boolean): Promise<Written> {
  const connection = node.reads.current ?? await node.reads.open()
  if (isAsking) connection.send(['ASKING']).catch(() => undefined)
  return { reply: await connection.send(args), replicated: NOTHING_TO_REPLICATE, wasLost: false }
}

const NOTHING_TO_REPLICATE = Promise.resolve()

const NO_OWNER = new ConnectionLost('No node of the cluster answers')
