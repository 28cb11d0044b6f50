// One Redis node of the simulated cluster: its connections, its keys, its part in replication. What
// the nodes tell each other is in node-bus.ts, and the commands on keys are in commands.ts.
// Invariant: a node that does not run answers nobody. A node that starts again has the data that it
// had, and knows the cluster as it was then.
import { createHash } from 'node:crypto'
import { slotOf } from '../../src/redis/slots.js'
import { ClientSession } from './client-session.js'
import { ClusterView } from './cluster-view.js'
import { runOnKeys, COMMANDS, type Command, type Context, type ServerKind } from './commands.js'
import { cloneOf, Keyspace } from './keyspace.js'
import { type Session, type Server } from './network.js'
import { redirection } from './redirection.js'
import { type Effects, type ReplicationLink, type Restore } from './replication-link.js'
import { ReplyError, type Value } from './resp.js'
import { runScript } from './lua.js'
import { newOwner } from './virtual-time.js'
import { type World } from './world.js'

/** A reason for which it refuses commands for a while. */
export type Mood = 'loading' | 'busy' | 'full' | 'misconfigured' | 'no-replicas' | 'crowded'

export const REFUSALS: Record<Mood, ReplyError> = {
  loading: new ReplyError('LOADING Redis is loading the dataset in memory'),
  busy: new ReplyError(
    'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.'
  ),
  full: new ReplyError("OOM command not allowed when used memory > 'maxmemory'."),
  misconfigured: new ReplyError('MISCONF Errors writing to the AOF file: No space left on device'),
  'no-replicas': new ReplyError('NOREPLICAS Not enough good replicas to write.'),
  crowded: new ReplyError('ERR max number of clients reached')
}

export class SimulatedNode implements Server {
  readonly owner
  readonly id: string
  readonly host: string
  readonly port: number
  readonly kind: ServerKind
  readonly view: ClusterView
  readonly sessions = new Set<ClientSession>()
  readonly links = new Set<ReplicationLink>()
  db = new Keyspace()
  offset = 0
  replicationId: string
  upstream: ReplicationLink | undefined
  /** When it lost its last master; undefined if it has had none since it started. */
  unlinkedAt: number | undefined
  /** It is receiving its master's data set, and has no data of its own until then. */
  isSynchronizing = false
  isRunning = true
  mood: Mood | undefined
  downUntil = 0
  /** An election that it has called. */
  electionAt: number | undefined
  readonly votedAt = new Map<string, number>()
  /** The sum of the versions of both views when it last compared its own with another node's. */
  readonly compared = new Map<string, number>()
  readonly #world: World
  /** By their hash. They are not replicated, and a node that starts again knows none. */
  readonly #scripts = new Map<string, string>()

  constructor(world: World, name: string, port: number) {
    this.#world = world
    this.owner = newOwner(name)
    this.id = createHash('sha1').update(name).digest('hex')
    this.host = '10.0.0.1'
    this.port = port
    this.kind = world.plan.kind
    this.view = new ClusterView(this.id)
    this.replicationId = `${name}@0`
  }

  get name(): string {
    return this.owner.name
  }

  get isListening(): boolean {
    return this.isRunning
  }

  get clockMs(): number {
    return this.#world.time.wallOf(this.owner)
  }

  get isMaster(): boolean {
    return this.view.me.role === 'master'
  }

  accept(reply: (bytes: Buffer) => void, end: () => void): Session {
    const session = new ClientSession(this.#world, this, reply, end)
    if (this.mood === 'crowded') session.refuse(REFUSALS.crowded)
    else this.sessions.add(session)
    return session
  }

  /** Carries out a command on keys or a script, or answers with a redirection. */
  execute(name: string, args: readonly string[], isAsking: boolean): Value {
    const command = COMMANDS.get(name)
    const keys = command === undefined ? args.slice(3, 3 + Number(args[2])) : command.keys(args)
    const elsewhere = this.redirect(keys, isAsking, false)
    if (elsewhere !== undefined) return elsewhere
    const effects: Array<readonly string[]> = []
    try {
      return command === undefined
        ? this.#runScript(name, args, isAsking, effects)
        : this.#runCommand(command, args, effects)
    } catch (error) {
      if (error instanceof ReplyError) return error
      throw error
    } finally {
      if (effects.length > 0) this.propagate(effects)
    }
  }

  redirect(
    keys: readonly string[],
    isAsking: boolean,
    areChannels: boolean
  ): ReplyError | undefined {
    return redirection(keys, {
      view: this.view,
      isDown: this.isDown,
      isAsking,
      areChannels,
      has: key => this.db.values.has(key) && !this.db.isExpired(key, this.clockMs)
    })
  }

  /** Whether, in this node's view, the cluster is down. */
  get isDown(): boolean {
    return this.downUntil > this.#world.time.now
  }

  /** Sends the effects of a command that it has carried out to its replicas. */
  propagate(effects: Effects): void {
    this.offset++
    this.#world.noteTexts(effects)
    for (const link of this.links) link.send(this.offset, effects)
  }

  /** Deletes all keys of these slots, which another node owns now. */
  dropSlots(slots: ReadonlySet<number>): void {
    const keys = [...this.db.values.keys()].filter(key => slots.has(slotOf(key)))
    for (const key of keys) this.db.delete(key)
    if (keys.length > 0) this.propagate([['DEL', ...keys]])
  }

  /** Applies the effects that its master has sent. */
  apply(offset: number, effects: Effects): void {
    const context = this.#context([])
    for (const effect of effects) {
      if ('value' in effect) this.restore(effect)
      else COMMANDS.get(effect[0] ?? '')?.run(context, effect)
    }
    this.offset = offset
    for (const link of this.links) link.send(offset, effects)
  }

  /** Stores a key that another node has sent as a whole. */
  restore({ key, value, expiry }: Restore): void {
    this.db.set(key, cloneOf(value))
    if (expiry !== undefined) this.db.expiries.set(key, expiry)
  }

  load(snapshot: Keyspace, offset: number, replicationId: string): void {
    if (this.isSynchronizing) this.db = snapshot
    this.isSynchronizing = false
    this.offset = offset
    this.replicationId = replicationId
  }

  /** A replica has reported its offset. */
  acknowledgedBy(): void {
    for (const session of this.sessions) session.tryToEndWait()
  }

  acknowledgements(offset: number): number {
    let count = 0
    for (const link of this.links) {
      if (link.state === 'online' && link.acknowledged >= offset) count++
    }
    return count
  }

  /** Ends the process abruptly. */
  stop(): void {
    this.isRunning = false
    for (const session of [...this.sessions]) session.end()
    for (const link of [...this.links]) link.break()
    this.upstream?.break()
    this.#scripts.clear()
    this.isSynchronizing = false
    this.unlinkedAt = undefined
  }

  /** Ends the subscriptions of a slot that has left the node. */
  endSubscriptions(slot: number): void {
    for (const session of this.sessions) session.endSubscriptions(slot)
  }

  #runCommand(command: Command, args: readonly string[], effects: Array<readonly string[]>): Value {
    const refusal = this.#refusal(command)
    if (refusal !== undefined) return refusal
    return runOnKeys(command, this.#context(effects), args)
  }

  #refusal(command: Command): ReplyError | undefined {
    if (!command.isWrite) return undefined
    if (this.mood === 'full' && command.needsMemory) return REFUSALS.full
    if (this.mood === 'misconfigured' || this.mood === 'no-replicas') return REFUSALS[this.mood]
    return undefined
  }

  #runScript(
    name: string,
    args: readonly string[],
    isAsking: boolean,
    effects: Array<readonly string[]>
  ): Value {
    const [, given = '', count = '0', ...rest] = args
    const sha = name === 'EVAL' ? createHash('sha1').update(given).digest('hex') : given
    if (name === 'EVAL') this.#scripts.set(sha, given)
    const text = this.#scripts.get(sha)
    if (text === undefined) return new ReplyError('NOSCRIPT No matching script. Please use EVAL.')
    const context = this.#context(effects)
    const keys = rest.slice(0, Number(count))
    return runScript(this.kind, sha, text, keys, rest.slice(Number(count)), args => {
      const command = COMMANDS.get(args[0]?.toUpperCase() ?? '')
      if (command === undefined) {
        throw new Error(`A script runs ${args[0] ?? ''}, which is not simulated`)
      }
      // The keys may have gone since the script began: it may have deleted one itself, in a slot
      // that is moving away.
      if (this.redirect(command.keys(args), isAsking, false) !== undefined) {
        throw new ReplyError('ERR Script attempted to access a non local key in a cluster node')
      }
      const refusal = this.#refusal(command)
      if (refusal !== undefined) throw refusal
      return runOnKeys(command, context, [args[0]?.toUpperCase() ?? '', ...args.slice(1)])
    })
  }

  #context(effects: Array<readonly string[]>): Context {
    return {
      db: this.db,
      clockMs: this.clockMs,
      kind: this.kind,
      effect: args => {
        effects.push(args)
      }
    }
  }
}
