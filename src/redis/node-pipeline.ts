// Commands to one node, in groups: what comes in a turn of the event loop, or while its connections are busy, goes as one pipeline, behind
// writes with one WAIT.
// Far fewer, larger packets: sending each command as it came cost more than everything else that a POST does.
// Invariant: `replicated` resolves only when a replica has the write, or when the master has no connected replica and the rest of
// the cluster still calls it the master. Decides nothing about where a key lives and repeats nothing: callers do.
import { DialogsError } from '../errors.js'
import { type Connection, ConnectionLost, isRedisError, type Reply } from './connection.js'
import { type Link } from './link.js'

export type Written = {
  readonly reply: Reply
  /** Rejects with DialogsError NOT_REPLICATED, or with ConnectionLost when the connection broke before the acknowledgement. */
  readonly replicated: Promise<void>
  /** An earlier attempt was lost with its connection, and so may have been carried out too. Set by Cluster, which makes the attempts. */
  readonly wasLost: boolean
}

export type ReplicationOptions = {
  /** How many replicas have to acknowledge, where so many are connected. 0 turns it off. */
  readonly acks: number
  /** How long a connected replica may take. */
  readonly deadlineMs: number
  /** Asks the rest of the cluster whether this node is still a master without a living replica. */
  readonly confirmAlone: () => Promise<boolean>
  readonly onDegraded: (isDegraded: boolean) => void
}

type Item = {
  readonly args: Array<string | Buffer>
  readonly isAsking: boolean
  readonly resolve: (written: Written) => void
  readonly reject: (error: unknown) => void
}

/** What is sent in one turn of the event loop, and is acknowledged together. */
type Group = {
  readonly link: Link
  readonly connection: Connection
  readonly replicated: Promise<void>
  readonly settle: (outcome: Promise<void>) => void
  length: number
  unanswered: number
  isSealed: boolean
}

const ALREADY = Promise.resolve()
const nothing = (): void => {}
const GROUP_LENGTH_MAX = 512
const WAIT_MS = 500
/** Below any sensible cluster-node-timeout: a master that was cut off and replaced cannot have been confirmed so recently. */
const CONFIRMED_FOR_MS = 1000

export class NodePipeline {
  readonly #options: ReplicationOptions
  /** Those without a group on their way. */
  readonly #free: Link[]
  /** What no group has room for. */
  readonly #queue: Item[] = []
  #gathering: Group | undefined
  /** So many replicas are connected as have to acknowledge, by what the node said last. */
  #hasEnough = false
  /** The shard goes on without a replica, and has been reported. */
  #isAlone = false
  #confirmedUntil = 0

  constructor (links: readonly Link[], options: ReplicationOptions) {
    this.#free = [...links]
    this.#options = options
  }

  /** @param reject gets ConnectionLost, or Redis' error reply */
  send (args: Array<string | Buffer>, isAsking: boolean, resolve: (written: Written) => void, reject: (error: unknown) => void): void {
    const item = { args, isAsking, resolve, reject }
    const group = this.#gathering ?? this.#begin()
    if (group === undefined) this.#queue.push(item)
    else this.#add(group, item)
  }

  // Commands are handed to the library as they come: it holds them back until the end of the turn and writes them at once. The WAIT has to be
  // asked for before it does: its immediate is set after this one.
  #begin (): Group | undefined {
    const link = this.#free.pop()
    if (link === undefined) return undefined
    const connection = link.current
    if (connection === undefined) {
      void this.#open(link)
      return undefined
    }
    let settle: (outcome: Promise<void>) => void = nothing
    const replicated = this.#options.acks > 0 ? new Promise<void>(resolve => { settle = resolve }) : ALREADY
    // Every caller gets the promise; that one of them may not look at it is no unhandled rejection.
    replicated.catch(nothing)
    const group = { link, connection, replicated, settle, length: 0, unanswered: 0, isSealed: false }
    this.#gathering = group
    setImmediate(() => { this.#seal(group) })
    return group
  }

  async #open (link: Link): Promise<void> {
    try {
      await link.open()
    } catch (error) {
      for (const { reject } of this.#queue.splice(0)) reject(error)
    }
    this.#release(link)
  }

  #add (group: Group, { args, isAsking, resolve, reject }: Item): void {
    group.length++
    group.unanswered++
    if (isAsking) group.connection.send(['ASKING']).catch(nothing)
    group.connection.dispatch(args, reply => {
      resolve({ reply, replicated: group.replicated, wasLost: false })
      this.#answered(group)
    }, error => {
      reject(error)
      this.#answered(group)
    })
    if (group.length === GROUP_LENGTH_MAX) this.#seal(group)
  }

  #seal (group: Group): void {
    if (group.isSealed) return
    group.isSealed = true
    this.#gathering = undefined
    // Its answer comes behind those of the commands, and fails with theirs.
    if (this.#options.acks > 0) this.#acknowledge(group)
    else if (group.unanswered === 0) this.#release(group.link)
  }

  #answered (group: Group): void {
    group.unanswered--
    if (group.isSealed && group.unanswered === 0 && this.#options.acks === 0) this.#release(group.link)
  }

  #acknowledge ({ link, connection, settle }: Group): void {
    const outcome = this.#replicate(connection)
    settle(outcome)
    const release = (): void => { this.#release(link) }
    outcome.then(release, release)
  }

  #release (link: Link): void {
    this.#free.push(link)
    while (this.#queue.length > 0) {
      const group = this.#gathering ?? this.#begin()
      if (group === undefined) return
      for (const item of this.#queue.splice(0, GROUP_LENGTH_MAX - group.length)) this.#add(group, item)
    }
  }

  async #replicate (connection: Connection): Promise<void> {
    const { acks, deadlineMs } = this.#options
    // A shard not known to have enough replicas is asked for them instead of waiting for them: the answer comes behind the writes. The one
    // that has just been promoted has none: waiting for it made each failover half a second longer.
    if (this.#hasEnough && await this.#wait(connection, acks) >= acks) return
    const deadline = performance.now() + deadlineMs
    do {
      const replication = parseReplication(String(await connection.send(['INFO', 'replication'])))
      this.#hasEnough = replication.role === 'master' && replication.replicasOnline >= acks
      if (replication.role !== 'master') throw new ConnectionLost('The node is no longer a master')
      const needed = Math.min(acks, replication.replicasOnline)
      if (needed === 0) return await this.#goOnAlone()
      this.#setAlone(false)
      if (await this.#wait(connection, needed) >= needed) return
    } while (performance.now() < deadline)
    throw new DialogsError('NOT_REPLICATED', `No replica acknowledged the write within ${deadlineMs} ms: try again with the same Idempotency-Key.`)
  }

  async #wait (connection: Connection, acks: number): Promise<number> {
    try {
      return Number(await connection.send(['WAIT', String(acks), String(WAIT_MS)]))
    } catch (error) {
      // UNBLOCKED: the node has become a replica while we waited. To the caller that is as good as a broken connection.
      throw isRedisError(error) ? new ConnectionLost(`The wait for replicas ended: ${error.message}`, { cause: error }) : error
    }
  }

  // No replica is connected. That is so when it died, and also when this master was stopped and has been replaced meanwhile: then
  // its writes are lost, and only the others know.
  async #goOnAlone (): Promise<void> {
    if (performance.now() > this.#confirmedUntil) {
      if (!await this.#options.confirmAlone()) throw new ConnectionLost('The node has no replica, or is no longer a master: the cluster does not agree')
      this.#confirmedUntil = performance.now() + CONFIRMED_FOR_MS
    }
    this.#setAlone(true)
  }

  #setAlone (isAlone: boolean): void {
    if (isAlone !== this.#isAlone) this.#options.onDegraded(isAlone)
    this.#isAlone = isAlone
  }
}

/** The role and the number of replicas in state `online`, from `INFO replication`. */
export function parseReplication (info: string): { role: string, replicasOnline: number } {
  return {
    role: /^role:(\w+)/m.exec(info)?.[1] ?? 'unknown',
    replicasOnline: [...info.matchAll(/^slave\d+:.*state=online/gm)].length
  }
}
